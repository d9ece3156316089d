"""What is known of the code of a run: `code/state.json` among its files, and nothing else decides what counts.

A file of the run counts only with the digest that the state names, so that what an earlier attempt left under the same
name is never taken for a part of this state. The state of a run is input from elsewhere: `parse` takes nothing in it on trust.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import InvalidNameError, MalformedContentError
from holdfast.names import check_file_name

STATE_FILE = "code/state.json"
FORMAT = "holdfast-code/1"
MAX_STATE_BYTES = 16 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the run that holds a part of the state."""

    name: str
    size: int
    digest: str
    """BLAKE3-256 of its content, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where the repository is published."""

    name: str
    url: str
    """Without user names, passwords and tokens (the user of ssh stays)."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The newest ancestor of the commit that the remote is known to have."""

    commit: str
    ref: str


@dataclass(frozen=True, slots=True)
class Untracked:
    """A file that git does not follow; ``path`` is relative to the top of the work tree and may hold any bytes."""

    path: str
    part: Part | None = None
    """Its content; None for a symbolic link."""
    executable: bool = False
    link: str | None = None
    """Where a symbolic link leads to."""


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule: only its commit is kept."""

    path: str
    commit: str
    changed: bool
    """It has changes of its own, which are not kept."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not kept, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeState:
    """The code of a run as it was when the run began."""

    git: bool = False
    """There was a work tree of git, and what follows of it is known."""
    commit: str | None = None
    """None in a repository without commits."""
    branch: str | None = None
    """None: HEAD was detached."""
    operation: str | None = None
    """What was under way: merge, rebase, cherry-pick, revert or bisect."""
    root_commits: tuple[str, ...] = ()
    """The first commits of the history: they tell which repository it is."""
    cwd: str = ""
    """The working directory of the run, relative to the top of the work tree."""
    remote: Remote | None = None
    upstream: Upstream | None = None
    """None: the remote has nothing of this history, or there is none."""
    diff: Part | None = None
    """Patch from the commit to the work tree."""
    staged: Part | None = None
    """Patch from the commit to the index."""
    upstream_diff: Part | None = None
    """Patch from the upstream commit to the work tree."""
    commits: Part | None = None
    """Bundle of the commits that the remote lacks."""
    intent_to_add: tuple[str, ...] = ()
    """Paths marked with `git add -N`."""
    untracked: tuple[Untracked, ...] = ()
    submodules: tuple[Submodule, ...] = ()
    program: Untracked | None = None
    """The program file where git does not hold it."""
    missing: tuple[str, ...] = ()
    """Which of diff, staged, upstream_diff and commits are needed and were not kept; ``left_out`` says why."""
    left_out: tuple[LeftOut, ...] = field(default=())

    def parts(self) -> list[Part]:
        """Return all files of the run that belong to the state."""
        single = (self.diff, self.staged, self.upstream_diff, self.commits)
        files = [*self.untracked, *([self.program] if self.program else [])]
        return [part for part in (*single, *(file.part for file in files)) if part is not None]

    def encode(self) -> bytes:
        """Return the content of `code/state.json`."""
        record = {"format": FORMAT, **dataclasses.asdict(self)}
        return (json.dumps(record, indent=1, ensure_ascii=True) + "\n").encode("ascii")

    @classmethod
    def parse(cls, data: bytes) -> CodeState:
        """Decode `code/state.json`.

        Raises:
            MalformedContentError: It is not one, of a later format, or names what no state may name.
        """
        try:
            record = json.loads(data)
            if record["format"] != FORMAT:
                raise MalformedContentError(
                    f"{STATE_FILE} has the format {record['format']!r}, which this version of Holdfast does not know."
                )
            return _state(record)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, InvalidNameError) as exc:
            if isinstance(exc, MalformedContentError):
                raise
            raise MalformedContentError(f"{STATE_FILE} is not the state of a run's code: {exc!r}.") from exc


def check_tree_path(path: str) -> str:
    """Return a path below the top of a work tree, or refuse one that could lead out of it or into ``.git``.

    Raises:
        MalformedContentError: It is refused.
    """
    parts = path.split("/")
    if "\0" in path or not all(parts) or any(part in (".", "..") or _is_git(part) for part in parts):
        raise MalformedContentError(f"{path!r} is no path within a work tree.")
    return path


def _is_git(part: str) -> bool:
    """Tell whether some file system takes a name for ``.git``."""
    bare = "".join(char for char in part.casefold() if not 0x200B <= ord(char) <= 0x206F and char != "\ufeff")
    bare = bare.split(":", 1)[0].rstrip(". ")
    return bare == ".git" or bare.startswith("git~")


def _state(record: dict[str, Any]) -> CodeState:
    upstream = record["upstream"]
    remote = record["remote"]
    program = record["program"]
    return CodeState(
        git=_typed(record["git"], bool),
        commit=None if record["commit"] is None else _commit(record["commit"]),
        branch=_optional(record["branch"]),
        operation=_optional(record["operation"]),
        root_commits=tuple(_commit(item) for item in record["root_commits"]),
        cwd=check_tree_path(record["cwd"]) if record["cwd"] else "",
        remote=None if remote is None else Remote(_typed(remote["name"], str), _typed(remote["url"], str)),
        upstream=None
        if upstream is None
        else Upstream(_commit(upstream["commit"]), _typed(upstream["ref"], str)),
        diff=_part(record["diff"]),
        staged=_part(record["staged"]),
        upstream_diff=_part(record["upstream_diff"]),
        commits=_part(record["commits"]),
        intent_to_add=tuple(check_tree_path(path) for path in record["intent_to_add"]),
        untracked=tuple(_untracked(item) for item in record["untracked"]),
        submodules=tuple(
            Submodule(check_tree_path(item["path"]), _commit(item["commit"]), _typed(item["changed"], bool))
            for item in record["submodules"]
        ),
        program=None if program is None else _untracked(program),
        missing=tuple(_typed(item, str) for item in record["missing"]),
        left_out=tuple(
            LeftOut(_typed(item["path"], str), _typed(item["reason"], str)) for item in record["left_out"]
        ),
    )


def _untracked(record: dict[str, Any]) -> Untracked:
    part, link = _part(record["part"]), _optional(record["link"])
    if (part is None) == (link is None) or (link is not None and (not link or "\0" in link)):
        raise ValueError(record["path"])
    return Untracked(check_tree_path(record["path"]), part, _typed(record["executable"], bool), link)


def _part(record: dict[str, Any] | None) -> Part | None:
    if record is None:
        return None
    if not _DIGEST.match(record["digest"]) or _typed(record["size"], int) < 0:
        raise ValueError(record["digest"])
    return Part(check_file_name(record["name"]), record["size"], record["digest"])


def _commit(text: str) -> str:
    if not _COMMIT.match(text):
        raise ValueError(text)
    return text


def _optional(value: Any) -> str | None:
    return None if value is None else _typed(value, str)


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(value)
    return value
