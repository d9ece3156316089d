"""`save`: match, link, pin, record. Touches no byte of a large file, and is done when the journal has it.

**Invariants.** A call records all of its files by one append, or none. When that fails, the pins and links of the call
are taken back. The files are in the journal when `save` returns, or the user has been told that they are not.
"""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import replace
from typing import NoReturn

from holdfast.errors import LocalFileError, UsageError
from holdfast.patterns import IgnoreRules
from holdfast.rundir.facts import Ignored, Saved, SavedFile, Watched, to_record
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.records import Record, RecordWriter
from holdfast.training.holdings import Held, Holdings
from holdfast.training.links import Links, Undo
from holdfast.training.pins import Pins
from holdfast.training.rules import Match, Places, Selection, is_captured_name, is_own_name, select
from holdfast.training.saved import SavedFileHandle, SavedFiles, Wait
from holdfast.training.terminal import Terminal

POLICIES = ("live", "now", "end")
KEEP_LOCAL = ("always", "until_stored")
_MOST_NAMED = 10


class Saver:
    """Accepts files for one run. Safe to use from any thread, and from processes forked off.

    Args:
        directory: The run directory.
        run_root: The folder that holds the run directories.
        journal: The journal.
        copy_limit: The most bytes that pins may take as copies.
        home: Holdfast's own folder of this user.
        ignore: What is not stored.
        ignore_source: Where that was set.
        terminal: Where warnings go.
        wait: What a handle's `wait` does.
        is_offline: The run directory is to hold the content of all saves.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        run_root: str,
        journal: RecordWriter,
        copy_limit: int,
        home: str,
        ignore: IgnoreRules,
        ignore_source: str | None,
        terminal: Terminal,
        wait: Wait,
        is_offline: bool = False,
    ) -> None:
        self._run_dir = str(directory.files)
        self._run_root = run_root
        self._journal = journal
        self._links = Links(self._run_dir, str(directory.pins))
        self._pins = Pins(str(directory.pins), copy_limit=copy_limit, holds_all=is_offline)
        self._holdings = Holdings(self._run_dir, str(directory.pins)) if is_offline else None
        self._home = home
        self._ignore = ignore
        self._ignore_source = ignore_source
        self._terminal = terminal
        self._wait = wait
        self._lock = threading.Lock()
        self._sources: dict[str, str] = {}
        self._watched: set[tuple[str, str, str]] = set()
        self._ignored: dict[str, dict[str, str]] = {}
        os.register_at_fork(after_in_child=self._renew_lock)
        self.last: dict[str, str] = {}
        """The last save of each name: its ``save_id``."""
        self.refused: dict[str, str] = {}
        """Files whose last save could not be recorded, and why."""

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # another thread may have held it when this process was forked off

    def save(
        self, argument: object, *, base_path: object, policy: str, literal: bool, keep_local: str = "always"
    ) -> SavedFiles:
        """See `Run.save`."""
        if policy not in POLICIES:
            raise UsageError(f"There is no policy {policy!r}.", hint="Choose live, now or end.")
        if keep_local not in KEEP_LOCAL:
            raise UsageError(f"keep_local cannot be {keep_local!r}.", hint="Choose always or until_stored.")
        places = Places(
            os.getcwd(), self._run_dir, self._run_root, self._links.sources, self._ignore, self._home
        )
        with self._lock:
            selection = select(argument, places, base_path=base_path, literal=literal)
            self._warn(selection)
            return self._accept(selection, policy, keep_local)

    def gather(self) -> list[str]:
        """Pin what has taken the place of saved files since, for an offline run that ends.

        Returns:
            The pins that are no longer as of their call.

        Raises:
            OSError: The run directory cannot be written.
        """
        if self._holdings is None:
            return []
        with self._lock:
            for held, info in self._holdings.replaced():
                self._pin_again(held, info)
            return self._holdings.rewritten()

    def _pin_again(self, held: Held, info: os.stat_result) -> None:
        policy, keep_local, file = held
        save_id = secrets.token_hex(8)
        try:
            pin, is_copy = self._pins.pin(file.path, info, policy, f"{save_id}-0")
        except FileNotFoundError:
            return
        if pin is None:
            return
        changed = replace(
            file, size=info.st_size, mtime_ns=info.st_mtime_ns, ino=info.st_ino, pin=pin, pin_is_copy=is_copy
        )
        self._journal.append(to_record(Saved(save_id, policy, [changed], keep_local=keep_local)))
        self.last[file.name] = save_id

    def _hold(self, policy: str, keep_local: str, file: SavedFile) -> None:
        if self._holdings is not None and not self._holdings.note(Held(policy, keep_local, file)):
            self._terminal.warn(
                f"{file.path!r} is too big to be copied from another disk into the run directory (pin_copy_limit). "
                "It must still be there when the offline run is synced."
            )

    def close(self) -> None:
        """Let go of what is open."""
        self._pins.close()

    def _warn(self, selection: Selection) -> None:
        for sentence in selection.left_out:
            self._terminal.warn(sentence)
        if selection.ignored:
            self._tell_ignored(selection)
        elif not selection.matches:
            looked_for = " nor ".join(repr(path) for path in selection.looked_for)
            later = "" if selection.watched is None else " What run.dir gets later will be saved."
            self._terminal.warn(f"save() found nothing: no file is {looked_for}.{later}")
        for match in selection.matches:
            other = self._sources.get(match.name)
            if other is not None and other != match.path:
                self._terminal.warn(f"{match.path!r} now takes the place of {other!r} as {match.name!r}.")
            if not os.access(match.path, os.R_OK):
                self._terminal.warn(f"{match.path!r} cannot be read now; it is stored once it can be.")

    def _tell_ignored(self, selection: Selection) -> None:
        new = self._newly_ignored(selection)
        if not new:
            return
        where = f" ({self._ignore_source})" if self._ignore_source else ""
        names = ", ".join(f"{name!r} by {glob!r}" for name, glob in list(new.items())[:_MOST_NAMED])
        more = f" and {len(new) - _MOST_NAMED} more" if len(new) > _MOST_NAMED else ""
        tell = self._terminal.warn if selection.is_one_file else self._terminal.say
        tell(f"save({selection.text!r}) left out what ignore_globs{where} ignores: {names}{more}.")

    def _newly_ignored(self, selection: Selection) -> dict[str, str]:
        """Return what of the ignored files no earlier call with the same argument left out."""
        before = self._ignored.get(selection.text, {})
        return {name: glob for name, glob in selection.ignored.items() if name not in before}

    def _accept(self, selection: Selection, policy: str, keep_local: str) -> SavedFiles:
        undo: list[Undo] = []
        save_id = secrets.token_hex(8)
        try:
            files = [
                file
                for number, match in enumerate(selection.matches)
                if (file := self._keep(match, policy, f"{save_id}-{number}", undo))
            ]
            self._record(Saved(save_id, policy, files, selection.text, keep_local), selection)
        except BaseException as exc:
            for step in reversed(undo):
                step()
            if isinstance(exc, OSError):
                return self._refuse(selection, policy, exc)
            raise
        for file in files:
            self.refused.pop(file.name, None)
            self._hold(policy, keep_local, file)
        self._sources.update((file.name, file.path) for file in files)
        self.last.update((file.name, save_id) for file in files)
        handles = (SavedFileHandle(file, save_id, policy, self._wait) for file in files)
        return SavedFiles(handles, ignored=selection.ignored)

    def _refuse(self, selection: Selection, policy: str, cause: OSError) -> SavedFiles:
        """Tell that nothing of a call is recorded; a full disk is no reason to end a training."""
        why = f"save() could not record it: {cause}"
        names = [match.name for match in selection.matches]
        self.refused.update(dict.fromkeys(names, why))
        self._terminal.complain(
            f"save() could not record {', '.join(names[:10])}: {cause}. Save again later."
        )

        def refuse(_save_id: str, handle: SavedFileHandle, _timeout: float | None) -> NoReturn:
            raise LocalFileError(f"{handle.name!r} is not stored: {why}.")

        return SavedFiles(
            SavedFileHandle(
                SavedFile(
                    match.name, match.path, match.stat.st_size, match.stat.st_mtime_ns, match.stat.st_ino
                ),
                "",
                policy,
                refuse,
            )
            for match in selection.matches
        )

    def _keep(self, match: Match, policy: str, pin_name: str, undo: list[Undo]) -> SavedFile | None:
        if is_own_name(match.name) and match.path != f"{self._run_dir}/{match.name}":
            raise UsageError(
                f"{match.path!r} cannot be saved as {match.name!r}: that is the name of the run's own record.",
                hint="Save it under another name by another base_path.",
            )
        info = match.stat
        try:
            pin, is_copy = self._pins.pin(match.path, info, policy, pin_name)
        except FileNotFoundError:
            self._terminal.warn(f"{match.path!r} was removed while it was being saved.")
            return None
        if pin is not None:
            undo.append(lambda: self._pins.remove(pin))
        step = self._links.put(match.name, match.path, beside=is_captured_name(match.name))
        if step is not None:
            undo.append(step)
        return SavedFile(match.name, match.path, info.st_size, info.st_mtime_ns, info.st_ino, pin, is_copy)

    def _record(self, saved: Saved, selection: Selection) -> None:
        watched, policy, keep_local = selection.watched, saved.policy, saved.keep_local
        records: list[Record] = []
        if saved.files:
            records.append(to_record(saved))
        ignored = self._newly_ignored(selection)
        if ignored:
            paths = {name: selection.ignored_paths[name] for name in ignored}
            records.append(to_record(Ignored(selection.text, policy, ignored, paths)))
        if watched is not None and (watched, policy, keep_local) not in self._watched:
            records.append(to_record(Watched(watched, policy, keep_local)))
        if records:
            self._journal.append(*records)
        if ignored:
            self._ignored.setdefault(selection.text, {}).update(ignored)
        if watched is not None:
            self._watched.add((watched, policy, keep_local))
