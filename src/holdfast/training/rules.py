"""What an argument of `save` means: which files, and under which names. Looks at the disk, changes nothing.

**Which files.** A path that exists is that file, brackets or not; the same holds for each folder that a pattern
names. Else it is a glob: ``**`` is recursive, a hidden file matches only a pattern that spells the dot. A directory
means its whole content, hidden files included. ``~`` is the home folder; ``..`` is taken away textually.

**Which names.** In this order: relative to ``base_path``; relative to ``run.dir`` if it lies in there; a relative path
as written, without its leading ``..``; an absolute one relative to the working directory if it lies in there, else
with the one folder that it lies in.

**Which not.** What the ignore globs mean, by the name within the run, is left out, however it was asked for.

**What else.** A relative pattern is looked for in ``run.dir`` too. Where a later file of ``run.dir`` can match, the
selection says which pattern is to be watched. Run directories and Holdfast's home folder, which has the API keys and the
embedded vault, are never content of the folder that they lie in.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from holdfast.capture import STEPS
from holdfast.errors import InvalidNameError, UsageError
from holdfast.names import check_file_name
from holdfast.patterns import IgnoreRules, Pattern, is_pattern
from holdfast.training.urls import is_url, url_error

_RUN_DIRECTORY = re.compile(r"run-\d{8}_\d{6}-[^/]+")
HISTORY = "history.jsonl"
SUMMARY = "summary.json"
OWN_FILES = ("config.yaml", HISTORY, SUMMARY)
"""The run's own files in ``run.dir`` that the training process writes, by the names that those of rank 0 have."""
OUTPUT = "output.log"
CAPTURED = (OUTPUT, *(pattern for patterns in STEPS.values() for pattern in patterns))
"""The names, likewise, of what is captured; a file of the user's may take the place of one."""
_RANK = re.compile(r"\Aranks/\d+/")

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a selection looks; all absolute.

    Args:
        cwd: The working directory.
        run_dir: ``run.dir``.
        run_root: The folder that holds the run directories.
        links: Links in ``run.dir`` of our own making: name to source.
        ignore: Which names are left out.
        home: Holdfast's own folder of this user; empty: none.
    """

    cwd: str
    run_dir: str
    run_root: str
    links: Mapping[str, str] = field(default_factory=dict)
    ignore: IgnoreRules = field(default_factory=IgnoreRules)
    home: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A regular file that is meant."""

    name: str
    path: str
    """Absolute, links of our own making resolved."""
    stat: os.stat_result


@dataclass(frozen=True, slots=True)
class Selection:
    """What an argument of `save` means at this moment."""

    text: str
    """The argument as text."""
    is_one_file: bool
    """It names one file, and not a folder or a pattern."""
    matches: list[Match]
    """By name, each name once."""
    ignored: dict[str, str]
    """What matched and is left out: the ignore glob by name."""
    ignored_paths: dict[str, str]
    """Where those files are."""
    watched: str | None
    """A pattern of names in ``run.dir`` that later files can match."""
    looked_for: list[str]
    """The absolute paths or patterns that were looked for."""
    left_out: list[str]
    """For each file that matched and cannot be saved a sentence that says why."""


def is_own_name(name: str) -> bool:
    """Tell whether a name within the run is that of a file which the training process itself makes, for whichever rank."""
    return _RANK.sub("", name, count=1) in OWN_FILES


def is_captured_name(name: str) -> bool:
    """Tell whether a name within the run is that of something captured, for whichever rank."""
    own = _RANK.sub("", name, count=1)
    return own in CAPTURED or any(pattern.matches(own) for pattern in _captured_globs())


@cache
def _captured_globs() -> tuple[Pattern, ...]:
    return tuple(Pattern(text) for text in CAPTURED if is_pattern(text))


def text_of(argument: object) -> str:
    """Return the path or pattern that a user gave as text.

    Raises:
        TypeError: It is neither text nor a path.
        UsageError: It is empty.
    """
    if not isinstance(argument, str | bytes | os.PathLike):
        raise TypeError(
            f"save() takes a path or a pattern, not {argument!r} of type {type(argument).__name__}."
        )
    text = os.fsdecode(argument)
    if not text:
        raise UsageError("save() was given an empty path.")
    if "\0" in text:
        raise InvalidNameError(f"The path {text!r} has a control character.")
    return text


def select(argument: object, places: Places, *, base_path: object = None, literal: bool = False) -> Selection:
    """Find out which files are meant, under which names.

    Args:
        argument: What the user gave to `save`.
        places: Where to look.
        base_path: The folder that names are relative to; None: as the module says.
        literal: The argument is a path and no pattern, whatever it looks like.

    Raises:
        TypeError: The argument or ``base_path`` is neither text nor a path.
        CloudUrlError: It, or ``base_path``, is a URL, and there is no local path of this form.
        UsageError: It is empty, or lies outside ``base_path``.
        InvalidNameError: It is one file and cannot be stored under its name.
    """
    given = text_of(argument)
    text = os.path.expanduser(given)
    full = os.path.normpath(os.path.join(places.cwd, text))
    if os.path.isabs(text):
        full = _through_links(full, places, literal=literal)
    target = _Target.of(full, literal=literal)
    if is_url(given) and not os.path.lexists(target.static):
        raise url_error(given)
    base = _base(text, target, places, base_path)
    searches = [(base, target)]
    watched = None
    if base == places.run_dir:
        watched = target.pattern_below(base)
    elif base == places.cwd and base_path is None and not os.path.isabs(text):
        twin = _Target.of(places.run_dir + full[len(base) :], literal=literal)
        searches.append((places.run_dir, twin))
        watched = target.pattern_below(base)
    found: dict[str, Match] = {}
    left_out: list[str] = []
    for folder, place in searches:
        for path in place.paths(places, left_out):
            try:
                match = _match(path, folder, places)
            except InvalidNameError as exc:
                if place.is_one_file:
                    raise
                left_out.append(exc.message)
            except OSError as exc:
                left_out.append(f"{path!r} cannot be saved: {_why(path, exc)}.")
            else:
                found.setdefault(match.name, match)
    if found and not target.rest and not target.is_directory:
        watched = None
    ignored = {name: glob for name in sorted(found) if (glob := places.ignore.matching(name)) is not None}
    matches = [found[name] for name in sorted(found) if name not in ignored]
    paths = {name: found[name].path for name in ignored}
    looked_for = [place.full for _, place in searches]
    return Selection(given, target.is_one_file, matches, ignored, paths, watched, looked_for, left_out)


@dataclass(frozen=True, slots=True)
class _Target:
    """An absolute path, split into what is taken literally and the pattern below it."""

    full: str
    static: str
    rest: str
    """The pattern; empty if there is none."""

    @classmethod
    def of(cls, full: str, *, literal: bool) -> _Target:
        if literal or not is_pattern(full) or os.path.lexists(full):
            return cls(full, full, "")
        parts = full.split("/")[1:]
        static = ""
        for at, part in enumerate(parts):
            if is_pattern(part) and not os.path.lexists(f"{static}/{part}"):
                return cls(full, static or "/", "/".join(parts[at:]))
            static = f"{static}/{part}"
        return cls(full, full, "")

    @property
    def is_directory(self) -> bool:
        return not self.rest and os.path.isdir(self.full)

    @property
    def is_one_file(self) -> bool:
        return not self.rest and not self.is_directory

    def pattern_below(self, base: str) -> str:
        """Return the pattern of names below ``base`` that means the same in `holdfast.patterns`."""
        static = glob.escape(_relative(self.static, base)) if self.static != base else ""
        ending = self.rest or ("**" if self.is_directory else "")
        return "/".join(part for part in (static, ending) if part)

    def paths(self, places: Places, left_out: list[str]) -> Iterator[str]:
        """Yield the files that are there: literally, by the pattern, and within directories."""
        walk = _Walk(places, self.static, left_out)
        if not self.rest:
            found = [self.full] if os.path.lexists(self.full) else []
        else:
            names = glob.glob(self.rest, root_dir=self.static, recursive=True)
            found = [os.path.join(self.static, name.rstrip("/")) for name in sorted(names) if name]
            found = [path for path in found if not walk.is_ours(path)]
        recursive_already = self.rest.endswith(("**", "**/*"))
        for path in found:
            if not os.path.isdir(path):
                yield path
            elif not recursive_already:
                yield from walk.content(path)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Walks folders, leaving out what is Holdfast's own."""

    places: Places
    start: str
    """The folder that the user named; wildcards lead on from there."""
    left_out: list[str]

    def content(self, folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
        """Yield all files below a folder; links to folders are followed unless they lead back up."""
        try:
            info = os.stat(folder)
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as exc:
            self.left_out.append(f"The folder {folder!r} cannot be read: {exc.strerror}.")
            return
        here = (info.st_dev, info.st_ino)
        if here in above:
            return
        for entry in entries:
            if self.is_ours(entry.path):
                continue
            if entry.is_dir():
                yield from self.content(entry.path, (*above, here))
            else:
                yield entry.path

    def is_ours(self, path: str) -> bool:
        """Tell whether a path that a wildcard or a folder led to is Holdfast's own matter."""
        run_dir, run_root = self.places.run_dir, self.places.run_root
        if _is_inside(path, run_dir):
            name = path[len(run_dir) + 1 :]
            return is_own_name(name) or is_captured_name(name) or not _is_inside(self.start, run_dir)
        home = self.places.home
        if home and _is_inside(path, home):
            return not _is_inside(self.start, home)
        if not path.startswith(run_root + "/"):
            return False
        below = path[len(run_root) + 1 :]
        if below == "settings":
            return True
        found = _RUN_DIRECTORY.match(below)
        return found is not None and not self.start.startswith(f"{run_root}/{found[0]}")


def _match(path: str, base: str, places: Places) -> Match:
    name = check_file_name(_relative(path, base))
    if _is_inside(path, places.run_dir):
        place = path[len(places.run_dir) + 1 :]
        source = places.links.get(place)
        if source is not None and os.path.islink(path) and os.readlink(path) == source:
            path = source
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise OSError("it is not a regular file")
    return Match(name, path, info)


def _base(text: str, target: _Target, places: Places, base_path: object) -> str:
    """Return the folder that the names are relative to."""
    full = target.full
    if base_path is not None:
        given = text_of(base_path)
        base = os.path.normpath(os.path.join(places.cwd, os.path.expanduser(given)))
        if is_url(given) and not os.path.lexists(base):
            raise url_error(given)
        base = _through_links(base, places, literal=True)
        if not _is_inside(full, base):
            raise UsageError(f"{text!r} lies outside of base_path {os.fspath(base)!r}.")
        return base
    if _is_inside(full, places.run_dir):
        return places.run_dir
    if not os.path.isabs(text):
        return _above(places.cwd, os.path.normpath(text))
    if _is_inside(full, places.cwd):
        return places.cwd
    if target.is_directory:
        return os.path.dirname(full)
    grandparent = os.path.dirname(os.path.dirname(full))
    return target.static if len(target.static) < len(grandparent) else grandparent


def _above(cwd: str, text: str) -> str:
    """Return the folder that the leading ``..`` of a relative path lead to."""
    for part in text.split("/"):
        if part != "..":
            break
        cwd = os.path.dirname(cwd)
    return cwd


def _through_links(full: str, places: Places, *, literal: bool) -> str:
    """Return an absolute path as seen from ``run.dir`` or the working directory, if a link leads in there."""
    roots = (places.run_dir, places.cwd)
    if any(_is_inside(full, root) for root in roots):
        return full
    static = _Target.of(full, literal=literal).static
    folder = static if static != full else os.path.dirname(full)
    real = os.path.realpath(folder)
    if real == folder:
        return full
    for root in roots:
        if _is_inside(real, os.path.realpath(root)):
            return os.path.normpath(root + real[len(os.path.realpath(root)) :] + full[len(folder) :])
    return full


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder if folder.endswith("/") else folder + "/")


def _relative(path: str, base: str) -> str:
    return path[len(base) :].lstrip("/")


def _why(path: str, exc: OSError) -> str:
    if isinstance(exc, FileNotFoundError) and os.path.islink(path):
        return f"it is a link to {os.readlink(path)!r}, which does not exist"
    return exc.strerror or str(exc)
