"""Blobs in an object store (S3, Google Cloud Storage, Azure) through obstore.

A blob is one PUT of at most a pack's size, which these stores make atomic and durable before they answer; nothing here
relies on conditional requests, which they do differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from holdfast.content.hashing import Bytes
from holdfast.errors import NotFoundError, SettingsError, VaultUnavailableError
from holdfast.vault.blobs import BlobInfo

_TIMEOUT = timedelta(seconds=60)
_CLIENT_OPTIONS = frozenset({"allow_http", "timeout", "connect_timeout", "proxy_url", "user_agent"})


class ObjectBlobs:
    """Blobs below a URL such as ``s3://bucket/prefix``.

    Args:
        url: Where they lie.
        options: Options of obstore: ``endpoint``, ``region``, ``access_key_id``, ``secret_access_key``, ... and of its
            client: ``allow_http``, ``timeout``, ``connect_timeout``, ``proxy_url``.

    Raises:
        SettingsError: The extra is not installed, or the options are not valid.
    """

    read_bytes = 16 << 20

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ImportError as exc:
            raise SettingsError(
                "Object stores need an extra.", hint="Install it: pip install 'holdfast[s3]'"
            ) from exc
        self._obstore = obstore
        # plain HTTP is used only for an endpoint that is written with http://
        client: Any = {"timeout": _TIMEOUT, "allow_http": True}
        client.update({name: value for name, value in options.items() if name in _CLIENT_OPTIONS})
        config: Any = {name: value for name, value in options.items() if name not in _CLIENT_OPTIONS}
        try:
            self._store: Any = from_url(url, config=config, client_options=client)
        except (obstore.exceptions.BaseError, ValueError) as exc:
            raise SettingsError(f"The object store {url} cannot be opened: {_first_line(exc)}") from exc

    def create(self, name: str) -> _Writer:
        """Begin a blob; its bytes are held until it is committed."""
        return _Writer(self, name)

    def put(self, name: str, data: bytes) -> None:
        """Store a whole blob."""
        with self._translated():
            self._obstore.put(self._store, name, data, use_multipart=False)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset``. Raises `NotFoundError`."""
        try:
            with self._translated():
                return bytes(self._obstore.get_range(self._store, name, start=offset, length=length))
        except FileNotFoundError as exc:
            raise NotFoundError(f"There is no blob {name}.") from exc
        except VaultUnavailableError:
            size = self.size(name)
            if size is not None and offset >= size:
                return b""
            raise

    def slice(self, name: str, offset: int, length: int) -> None:
        """There are no files here."""

    def size(self, name: str) -> int | None:
        """Return the size of a blob, or None if it is absent."""
        try:
            with self._translated():
                return int(self._obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Remove a blob; an absent one is fine."""
        try:
            with self._translated():
                self._obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        """Yield the blobs whose names start with a prefix."""
        folder, slash, _ = prefix.rpartition("/")
        with self._translated():
            for page in self._obstore.list(self._store, folder + slash):
                for item in page:
                    if item["path"].startswith(prefix):
                        yield BlobInfo(item["path"], item["size"], item["last_modified"].timestamp())

    def close(self) -> None:
        """Nothing is held between calls."""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn obstore's errors into Holdfast's; an absent object is a `FileNotFoundError`."""
        try:
            yield
        except (self._obstore.exceptions.NotFoundError, FileNotFoundError) as exc:
            raise FileNotFoundError(str(exc)) from exc
        except (self._obstore.exceptions.BaseError, OSError) as exc:
            raise VaultUnavailableError(f"The object store failed: {_first_line(exc)}") from exc


class _Writer:
    def __init__(self, blobs: ObjectBlobs, name: str) -> None:
        self._blobs = blobs
        self._name = name
        self._pieces: list[bytes] = []

    def write(self, pieces: Sequence[Bytes]) -> None:
        self._pieces += map(bytes, pieces)

    def commit(self) -> None:
        data, self._pieces = b"".join(self._pieces), []
        self._blobs.put(self._name, data)

    def abort(self) -> None:
        self._pieces = []


def _first_line(exc: BaseException) -> str:
    return (str(exc) or type(exc).__name__).splitlines()[0]
