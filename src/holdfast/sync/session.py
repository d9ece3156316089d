"""What the uploader asks of a vault, in the units that it needs, over an upload that is renewed when it has ended."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from holdfast.content.hashing import Bytes
from holdfast.errors import UploadNotFoundError
from holdfast.names import RunPath
from holdfast.protocol.messages import (
    Commit,
    CommitEntry,
    CommitResult,
    ContentKey,
    ContentQuery,
    Upload,
)
from holdfast.protocol.vault import Vault

_T = TypeVar("_T")

_RENEWALS = 3


class Session:
    """One attempt's uploads to one run. Thread-safe.

    An upload that has ended (it expired while nothing happened) is replaced by a new one and the request is made
    again. What only the old upload had pinned may be gone then; `commit` says so.

    Args:
        vault: Where to store.
        run: The run; it must have been opened.
        attempt: The attempt that the files come from; None: the newest.
    """

    def __init__(self, vault: Vault, run: RunPath, attempt: str | None) -> None:
        self.vault = vault
        self.run = run
        self._attempt = attempt
        self._upload: Upload | None = None
        self._lock = threading.Lock()

    @property
    def upload(self) -> Upload:
        """The upload under way; begins one if there is none."""
        with self._lock:
            if self._upload is None:
                self._upload = self.vault.begin(self.run, attempt=self._attempt)
            return self._upload

    def have(self, ids: Sequence[bytes]) -> set[bytes]:
        """Return those of the ids that the vault holds, now pinned."""
        distinct = list(dict.fromkeys(ids))
        most = self.upload.have_max
        held: set[bytes] = set()
        for start in range(0, len(distinct), most):
            part = distinct[start : start + most]
            bitmap = self._bitmap(b"".join(part))
            held.update(id_ for at, id_ in enumerate(part) if bitmap[at >> 3] >> (at & 7) & 1)
        return held

    def _bitmap(self, ids: bytes) -> bytes:
        return self._ask(lambda upload_id: self.vault.have(upload_id, ids))

    def have_contents(self, keys: list[ContentKey]) -> list[bytes | None]:
        """Return for each content its manifest if the vault holds it (now pinned), else None."""
        query = ContentQuery(keys=keys)
        return self._ask(lambda upload_id: self.vault.have_contents(upload_id, query)).manifests

    def put_pack(self, body: Sequence[Bytes]) -> int:
        """Store a pack under a new id; return the number of its bytes."""
        pack_id = secrets.token_hex(16)
        return self._ask(lambda upload_id: self.vault.put_pack(upload_id, pack_id, body)).size_bytes

    def commit(self, entries: list[CommitEntry]) -> CommitResult:
        """Publish versions, under one idempotency key however often it is tried."""
        commit = Commit(key=secrets.token_hex(16), entries=entries)
        return self._ask(lambda upload_id: self.vault.commit(upload_id, commit))

    def _ask(self, request: Callable[[str], _T]) -> _T:
        for _ in range(_RENEWALS):
            upload = self.upload
            try:
                return request(upload.upload_id)
            except UploadNotFoundError:
                self._drop(upload)
        return request(self.upload.upload_id)

    def _drop(self, upload: Upload) -> None:
        with self._lock:
            if self._upload is upload:
                self._upload = None
