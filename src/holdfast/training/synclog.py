"""What the syncer has said so far about a run directory: its log, followed from the training process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from holdfast.errors import HoldfastError, error_classes
from holdfast.rundir.facts import Ended, NotStored, Refused, Registered, Stored, from_records
from holdfast.rundir.layout import RunDirectory
from holdfast.rundir.records import RecordReader

_SHORTEST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.2
_PAUSE_OF_WAITED = 0.02


class SyncLog:
    """Follows ``sync.jsonl``. Safe to use from any thread."""

    def __init__(self, directory: RunDirectory) -> None:
        self._reader = RecordReader(directory.sync_log)
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], Stored | NotStored] = {}
        self.registered: Registered | None = None
        self.refused: Refused | None = None
        self.ended: Ended | None = None
        self.newest: dict[str, Stored | NotStored] = {}
        """The last word on each name."""
        self.count = 0
        """How many facts there were."""

    def look(self) -> None:
        """Take in what is new."""
        with self._lock:
            for fact in from_records(self._reader.read()):
                self.count += 1
                match fact:
                    case Registered():
                        self.registered, self.refused = fact, None
                    case Refused():
                        self.refused = fact
                    case Ended():
                        self.ended = fact
                    case Stored() | NotStored():
                        self.newest[fact.name] = fact
                        for save_id in fact.saves:
                            self._answers[save_id, fact.name] = fact

    def answer(self, save_id: str, name: str) -> Stored | NotStored | None:
        """Return what became of a save of a file, as far as it is known."""
        return self._answers.get((save_id, name))

    def wait(self, is_true: Callable[[], bool], timeout_s: float | None) -> bool:
        """Look until something is true; False if that took too long.

        Args:
            is_true: Asked after each look.
            timeout_s: None: no limit.
        """
        began = time.monotonic()
        while True:
            self.look()
            if is_true():
                return True
            waited = time.monotonic() - began
            pause = min(max(_SHORTEST_PAUSE_S, _PAUSE_OF_WAITED * waited), _LONGEST_PAUSE_S)
            if timeout_s is not None:
                if waited >= timeout_s:
                    return False
                pause = min(pause, timeout_s - waited)
            time.sleep(pause)


def rebuilt_error(fact: Refused | NotStored) -> HoldfastError:
    """Return the error that a fact of the syncer tells of, as the class that it had there."""
    cls = error_classes().get(fact.code, HoldfastError)
    hint = fact.hint if isinstance(fact, Refused) else ""
    return cls(fact.message, hint=hint or None)
