"""Fetching frames: parallel requests, every chunk verified before anyone sees it, cuts gone on with.

**How it works.** Four readers take requests from one queue. The frames of a request come in the order that was asked,
so the first frame that has not come yet is the one to go on with after a cut, and the one to blame for damage. A
damaged frame is asked for once more, checked by the vault this time (the wire may be at fault, or the vault learns of
the damage), and then given up; the others of the request go on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Generic

from holdfast.content.hashing import Bytes
from holdfast.content.packs import FrameEntry, FrameReader, open_frame
from holdfast.errors import CorruptContentError, HoldfastError, IntegrityError, VaultUnavailableError
from holdfast.names import RunPath
from holdfast.protocol.vault import Vault
from holdfast.restoring.plan import Frame, Use, query_of

READERS = 4
TRIES_WITHOUT_PROGRESS = 5
TRIES_FOR_A_DAMAGED_FRAME = 2
FIRST_PAUSE_S = 0.25


class Fetcher(Generic[Use]):
    """Fetch frames of a run.

    Args:
        vault: Where from.
        run: The run that the frames belong to.
        domain_key: Verifies the chunks.
        deliver: Called with a frame and its verified raw bytes, from several threads; the bytes are valid only
            during the call.
        give_up: Called with a frame that is damaged for good, and the error.
        is_wanted: Asked before a frame is requested; what nobody wants any more is left out.
    """

    def __init__(
        self,
        vault: Vault,
        run: RunPath,
        domain_key: bytes,
        *,
        deliver: Callable[[Frame[Use], Bytes], None],
        give_up: Callable[[Frame[Use], HoldfastError], None],
        is_wanted: Callable[[Frame[Use]], bool],
    ) -> None:
        self._vault, self._run, self._key = vault, run, domain_key
        self._deliver, self._give_up, self._is_wanted = deliver, give_up, is_wanted
        self._queue: deque[list[Frame[Use]]] = deque()
        self._stop = threading.Event()

    def fetch(self, requests: Sequence[list[Frame[Use]]]) -> None:
        """Fetch all; blocks until every frame was delivered or given up.

        Raises:
            HoldfastError: The vault cannot be read: `VaultUnavailableError` after several tries, and any other
                error at once. What was delivered stays delivered.
        """
        self._queue.extend(requests)
        with ThreadPoolExecutor(READERS, "holdfast-restore") as pool:
            readers = [pool.submit(self._work) for _ in range(min(READERS, len(requests)))]
            try:
                wait(readers, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
        for reader in readers:
            reader.result()

    def _work(self) -> None:
        try:
            while not self._stop.is_set() and self._queue:
                try:
                    request = self._queue.popleft()
                except IndexError:
                    return
                self._request(request)
        except BaseException:
            self._stop.set()
            raise

    def _request(self, frames: list[Frame[Use]]) -> None:
        missing = deque(frame for frame in frames if self._is_wanted(frame))
        tries = damaged = 0
        while missing and not self._stop.is_set():
            before = len(missing)
            try:
                self._read(missing, is_checked=damaged + tries > 0)
            except IntegrityError as exc:
                damaged = 1 if len(missing) < before else damaged + 1
                if damaged >= TRIES_FOR_A_DAMAGED_FRAME:
                    self._give_up(missing.popleft(), exc)
                    damaged = 0
            except VaultUnavailableError:
                tries = 1 if len(missing) < before else tries + 1
                if tries >= TRIES_WITHOUT_PROGRESS or self._stop.wait(FIRST_PAUSE_S * 2**tries):
                    raise

    def _read(self, missing: deque[Frame[Use]], *, is_checked: bool) -> None:
        """Read until ``missing`` is empty; frames leave it as they are delivered."""
        reader = FrameReader()
        for data in self._vault.read(self._run, query_of(missing, is_checked=is_checked)):
            for entry, stored in reader.feed(data):
                self._take(missing, entry, stored)
            if self._stop.is_set():
                return
        if missing:
            raise VaultUnavailableError("The vault sent less than it was asked for.")

    def _take(self, missing: deque[Frame[Use]], entry: FrameEntry, stored: Bytes) -> None:
        if not missing or (entry.id, entry.raw_len) != (missing[0].id, missing[0].raw_len):
            raise CorruptContentError("The vault sent another chunk than it was asked for.")
        data = open_frame(self._key, entry, stored)
        self._deliver(missing[0], data)
        missing.popleft()
