"""A real vault in a temporary folder, and wrappers around it that count or fail."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from holdfast.content.hashing import content_digest
from holdfast.content.manifests import decode_places
from holdfast.content.packs import iter_frames, open_frame
from holdfast.errors import VaultUnavailableError
from holdfast.names import RunPath
from holdfast.protocol.messages import FileRef, LocateQuery, PackRange, ReadQuery, RunSpec
from holdfast.sync.jobs import Job, Progress, ReadRule
from holdfast.sync.upload import Uploader
from holdfast.vault import LocalVault, open_vault

ATTEMPT = "attempt-0000001"
RUN = RunPath("me", "mnist", "a1b2c3d4")
LONG_AGO = 1_500_000_000


def open_run_vault(folder: Path) -> LocalVault:
    """Return a vault that has the run."""
    vault = open_vault(f"sqlite:///{folder / 'catalog.sqlite'}", (folder / "blobs").as_uri(), user="me")
    vault.open_run(
        RunSpec(
            entity=RUN.entity, project=RUN.project, run_id=RUN.run_id, attempt=ATTEMPT, started_at=time.time()
        )
    )
    return vault


class WatchedVault:
    """Delegates to a vault; counts calls and bytes, and fails where it is told to."""

    def __init__(self, vault: LocalVault) -> None:
        self.vault = vault
        self.calls: Counter[str] = Counter()
        self.pack_bytes = 0
        self.request_bytes = 0
        self.fail_at: int | None = None
        self.before: Callable[[str], None] = str
        self._lock = threading.Lock()

    def __getattr__(self, name: str):
        method = getattr(self.vault, name)

        def call(*args, **kwargs):
            with self._lock:
                self.calls[name] += 1
                if sum(self.calls.values()) == self.fail_at:
                    raise VaultUnavailableError("The vault is away.")
                self._count_bytes(name, args)
            self.before(name)
            return method(*args, **kwargs)

        return call

    def _count_bytes(self, name: str, args: tuple) -> None:
        if name == "put_pack":
            size = sum(len(piece) for piece in args[2])
            self.pack_bytes += size
            self.request_bytes += size
        elif name == "have":
            self.request_bytes += len(args[1])
        elif name == "commit":
            self.request_bytes += len(args[1].model_dump_json())

    @property
    def requests(self) -> int:
        return sum(self.calls.values())

    def reset(self) -> None:
        self.calls.clear()
        self.pack_bytes = self.request_bytes = 0


def uploader_of(vault, progress: Progress | None = None) -> Uploader:
    return Uploader(vault, RUN, ATTEMPT, progress=progress or Progress())


def settled(path: Path, data: bytes) -> Path:
    """Write a file that looks untouched for years."""
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def job(path: Path, rule: ReadRule = ReadRule.SETTLED, **fields) -> Job:
    fields.setdefault("quiet_s", 0)
    fields.setdefault("name", path.name)
    return Job(path=path, rule=rule, **fields)


def read_back(vault, name: str, version: int | None = None) -> bytes:
    """Return a version's bytes from the vault, every chunk verified and the whole compared with its digest."""
    places = vault.locate(RUN, LocateQuery(refs=[FileRef(name=name, version=version)]))
    assert places.next is None
    data = b""
    for place in decode_places(places.chunks):
        where = PackRange(pack=places.packs[place.pack], offset=place.offset, length=place.frame_len)
        frame = b"".join(vault.read(RUN, ReadQuery(ranges=[where])))
        [(entry, stored)] = iter_frames(memoryview(frame))
        assert entry.id == place.id
        data += open_frame(places.domain_key, entry, stored)
    [info] = places.files
    assert (len(data), content_digest(data)) == (info.size, info.digest)
    return data


def leaked_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("holdfast-")]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
