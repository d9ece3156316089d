"""The uploader: turns jobs into versions on a vault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.names import RunPath
from holdfast.protocol.vault import Vault
from holdfast.sync.jobs import Job, Outcome, Progress
from holdfast.sync.limit import Limit
from holdfast.sync.packing import most_senders
from holdfast.sync.prefix import Prefixes
from holdfast.sync.reader import Reader
from holdfast.sync.session import Session
from holdfast.sync.transfer import Transfer


class Uploader:
    """Stores files of one attempt of a run. For use from one thread; keeps no thread or file between calls.

    Remembers what it stored of files that grow, so keep one uploader for as long as the run is followed.

    Args:
        vault: Where to store.
        run: The run, which this attempt has opened.
        attempt: The attempt that the files come from; None: the newest.
        progress: Counts what happens.
    """

    def __init__(self, vault: Vault, run: RunPath, attempt: str | None, *, progress: Progress) -> None:
        self._session = Session(vault, run, attempt)
        self._reader = Reader()
        self._prefixes = Prefixes(self._session)
        self._limit: Limit | None = None
        self._progress = progress

    def store(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Store files; yield an outcome per job as soon as it is certain, in any order.

        A `Done` is yielded after its version was committed. Jobs of the same name become versions in their order.
        Memory stays below about 150 MB whatever the sizes and the number of the files.

        Raises:
            VaultUnavailableError: The vault cannot be used; so for every other error of the vault as a whole
                (full, unauthorized...). Jobs without an outcome are then simply not done: call again later. What the
                vault acknowledged is not sent again.
        """
        if not jobs:
            return
        if self._limit is None:
            self._limit = Limit(most_senders(self._session.upload.pack_bytes))
        transfer = Transfer(self._session, self._reader, self._prefixes, self._limit, self._progress)
        yield from transfer.run(jobs)
