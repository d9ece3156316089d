"""What a vault stands on: a catalog, blobs, a clock and room on the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.vault.blobs import Blobs
from holdfast.vault.catalog.engine import Catalog
from holdfast.vault.space import Space


@dataclass(frozen=True, slots=True)
class Limits:
    """How large and how long things may be."""

    pack_bytes: int = 16 << 20
    have_max: int = 8192
    lease_s: float = 3600
    """How long an upload lives after its last request."""
    commit_memory_s: float = 7 * 24 * 3600
    """How long the answer to a commit is remembered under its key."""
    silence_s: float = 300
    """A running run without a sign of life for so long reads as crashed."""
    locate_max: int = 32_768
    """The most chunks in one `ChunkMap`."""


@dataclass(frozen=True, slots=True)
class Foundation:
    """Shared by all callers of one vault."""

    catalog: Catalog
    blobs: Blobs
    space: Space
    clock: Callable[[], float] = time.time
    limits: Limits = field(default_factory=Limits)

    def close(self) -> None:
        """Release connections and files."""
        self.catalog.close()
        self.blobs.close()
