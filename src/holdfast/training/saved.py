"""What `save` returns: a handle for each file, that can wait until the file is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from holdfast.errors import HoldfastError, IncompleteError, UsageError, WaitTimeoutError
from holdfast.rundir.facts import NotStored, SavedFile, Stored
from holdfast.training.synclog import SyncLog, rebuilt_error


class SavedFileHandle:
    """A file that a `save` call accepted.

    Attributes:
        name: Its name within the run.
        policy: live, now or end.
    """

    def __init__(self, file: SavedFile, save_id: str, policy: str, wait: Wait) -> None:
        self.name = file.name
        self._path = file.path
        self.policy = policy
        self._save_id = save_id
        self._wait = wait
        self._stored: Stored | None = None

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until this save is stored: until a version that fulfils it is durable on the vault.

        Args:
            timeout: Seconds; None: no limit.

        Returns:
            The handle itself; `version`, `digest`, `size` and `fidelity` are known from now on.

        Raises:
            WaitTimeoutError: The time ran out; the upload goes on.
            IncompleteError: The run is over and the file is not stored.
            UsageError: Nothing stores the file meanwhile: the run is offline, or the policy is ``end`` and the run
                is not finished.
            HoldfastError: The vault refuses the run or the file; the class says why.
        """
        if self._stored is None:
            self._stored = self._wait(self._save_id, self, timeout)
        return self

    @property
    def path(self) -> Path:
        """Where it lies on this machine, absolute."""
        return Path(self._path)

    @property
    def version(self) -> int:
        """The version that fulfils this save. Raises `UsageError` before `wait` has returned."""
        return self._known().version

    @property
    def digest(self) -> str:
        """BLAKE3-256 of the bytes stored, in hexadecimal. Raises `UsageError` before `wait` has returned."""
        return self._known().digest

    @property
    def size(self) -> int:
        """Number of bytes stored. Raises `UsageError` before `wait` has returned."""
        return self._known().size

    @property
    def fidelity(self) -> str:
        """exact, later or unsettled: how the version relates to the save. Raises `UsageError` before `wait`."""
        return self._known().fidelity

    def _known(self) -> Stored:
        if self._stored is None:
            raise UsageError(f"{self.name!r} may not be stored yet.", hint="Call wait() first.")
        return self._stored

    def __fspath__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"<{self._path} -> {self.name}>"


Wait = Callable[[str, SavedFileHandle, float | None], Stored]


class SavedFiles(list[SavedFileHandle]):
    """The files that a `save` call accepted, by name. Prints as the mapping from local path to name.

    Attributes:
        ignored: What the call matched and the ignore globs left out: the glob by name.
    """

    def __init__(
        self, files: Iterable[SavedFileHandle] = (), *, ignored: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(files)
        self.ignored = dict(ignored or {})

    def wait(self, timeout: float | None = None) -> Self:
        """Wait for each file in turn, as `SavedFileHandle.wait` does; ``timeout`` is for all together."""
        import time

        deadline = None if timeout is None else time.monotonic() + timeout
        for handle in self:
            handle.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self

    def __str__(self) -> str:
        return "\n".join(f"{handle.path} -> {handle.name}" for handle in self) or "(no files)"


def wait_for_stored(
    log: SyncLog, save_id: str, handle: SavedFileHandle, timeout: float | None, alive: Callable[[], None]
) -> Stored:
    """Wait until a save is fulfilled; see `SavedFileHandle.wait`.

    Args:
        log: The syncer's log.
        save_id: The save.
        handle: The file of it.
        timeout: Seconds; None: no limit.
        alive: Called now and then; sees to it that there is a syncer.
    """

    def settled() -> bool:
        answer = log.answer(save_id, handle.name)
        if isinstance(answer, Stored) or log.refused is not None or log.ended is not None:
            return True
        alive()
        return isinstance(answer, NotStored) and not answer.retrying

    in_time = log.wait(settled, timeout)
    answer = log.answer(save_id, handle.name)
    if isinstance(answer, Stored):
        return answer
    raise _failure(log, answer, handle.name, in_time=in_time)


def _failure(log: SyncLog, answer: NotStored | None, name: str, *, in_time: bool) -> HoldfastError:
    if not in_time:
        why = f": {answer.message}" if answer else "."
        return WaitTimeoutError(
            f"{name!r} is not stored yet{why}", hint="The upload goes on in the background."
        )
    if answer is not None:
        return rebuilt_error(answer)
    if log.refused is not None:
        return rebuilt_error(log.refused)
    why = log.ended.missing.get(name, "the run is over") if log.ended else "the run is over"
    return IncompleteError(f"{name!r} is not stored: {why}", details={"missing": {name: why}})
