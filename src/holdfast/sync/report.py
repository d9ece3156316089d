"""What became of a run directory."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.errors import HoldfastError
from holdfast.names import RunPath


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What became of a run directory.

    Attributes:
        run: The run; None if the vault never opened it.
        state: ``running`` if it is not over, or how it ended.
        stored: How many files have a version.
        missing: What is not stored, and why.
        ignored: What is not to be stored: the ignore glob by name.
        ended: The run is over and the vault knows it; the directory needs no syncer any more.
        error: What kept the syncer from going on: the vault refused the run, or cannot be used.
    """

    run: RunPath | None
    state: str
    stored: int
    missing: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    error: HoldfastError | None = None
    ignored: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0: everything is stored; 9: something is missing; else that of the error."""
        if self.error is not None:
            return self.error.exit_code
        return 9 if self.missing else 0
