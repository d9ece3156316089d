"""The threads that speak with the vault, so that whoever follows the run directory never waits for it.

A worker does one errand at a time: a function that yields what is to be reported. Everything it has to say arrives, in
order, in the one queue of reports that the follower reads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from holdfast.errors import DirectoryBusyError
from holdfast.names import RunPath
from holdfast.protocol.messages import Commit, CommitResult, PackReceipt, RunInfo, RunSpec, RunUpdate
from holdfast.protocol.vault import Vault

if TYPE_CHECKING:
    from holdfast.rundir.lease import Lease

Errand = Callable[[], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Idle:
    """The errand has ended; ``error`` tells why it ended early."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Something that an errand yielded, or that it is over."""

    worker: Worker
    item: Any


class Worker:
    """One thread and its errands.

    Args:
        name: Of the thread.
        reports: Where everything goes that it has to report.
    """

    def __init__(self, name: str, reports: SimpleQueue[Report]) -> None:
        self.is_busy = False
        self._reports = reports
        self._errands: SimpleQueue[Errand | None] = SimpleQueue()
        # A daemon: a syncer that has to go must not wait for a vault that does not answer.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def give(self, errand: Errand) -> None:
        """Let it do an errand. It must not be busy."""
        assert not self.is_busy
        self.is_busy = True
        if not self._thread.is_alive():
            self._thread.start()
        self._errands.put(errand)

    def close(self, timeout_s: float = 5.0) -> None:
        """Let the thread end after the errand under way, and wait for that a while."""
        self._errands.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while (errand := self._errands.get()) is not None:
            error = None
            try:
                for item in errand():
                    self._reports.put(Report(self, item))
            except Exception as exc:  # noqa: BLE001 - the edge of this thread: the follower judges every error
                error = exc
            self._reports.put(Report(self, Idle(error)))


class LeasedVault:
    """A vault that is written to only while the lease is held. Everything else is the vault's own."""

    def __init__(self, vault: Vault, lease: Lease) -> None:
        self._vault = vault
        self._lease = lease
        self._closed = threading.Event()

    @classmethod
    def wrap(cls, vault: Vault, lease: Lease) -> tuple[Vault, Callable[[], None]]:
        """Return the guarded vault, and the function that closes it: from then on it writes nothing."""
        guarded = cls(vault, lease)
        return cast("Vault", guarded), guarded._closed.set

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vault, name)

    def open_run(self, spec: RunSpec) -> RunInfo:
        self._check()
        return self._vault.open_run(spec)

    def update_run(self, run: RunPath, update: RunUpdate) -> RunInfo:
        self._check()
        return self._vault.update_run(run, update)

    def put_pack(
        self, upload_id: str, pack_id: str, body: Sequence[bytes | bytearray | memoryview]
    ) -> PackReceipt:
        self._check()
        return self._vault.put_pack(upload_id, pack_id, body)

    def commit(self, upload_id: str, commit: Commit) -> CommitResult:
        self._check()
        return self._vault.commit(upload_id, commit)

    def _check(self) -> None:
        if self._closed.is_set():
            raise DirectoryBusyError("This syncer has let go of the run directory.")
        self._lease.check()
