"""The server process: opens the vault, listens, tells where, and stops in good order on SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import getpass
import logging
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from holdfast.credentials import Credential, load_credentials, store_credential
from holdfast.errors import UsageError
from holdfast.names import to_label
from holdfast.server.app import create_app
from holdfast.server.auth import hash_of, is_well_formed, new_api_key
from holdfast.server.connection import Connection
from holdfast.server.gate import STALL_S
from holdfast.settings import Secret
from holdfast.vault import LocalVault, open_vault_at
from holdfast.vault.keys import Keys

DEFAULT_PORT = 8420
_KEEP_ALIVE_S = 75
_GRACE_S = 20
_BACKLOG = 1024
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def serve(
    data_dir: Path,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    home: Path,
    catalog: str | None = None,
    blobs: str | None = None,
    reserve_bytes: int | None = None,
    show_key: bool = False,
    stall_s: float = STALL_S,
) -> None:
    """Serve the vault in ``data_dir`` until a signal says stop. Blocks; call it in the main thread.

    When it is ready it writes one line to standard output: ``Holdfast is serving DIR at URL``. The first start makes
    a key for the user of this machine and stores it in ``home``, so that this user needs no login. Log lines go to
    standard error; a key is never among them.

    Args:
        data_dir: The vault; made if it is not there.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        home: Where the user's credentials are.
        catalog: URL of a database to use instead of the one in ``data_dir``.
        blobs: URL of a store to use instead of the folder in ``data_dir``; its options come from the environment.
        reserve_bytes: How much of the disk uploads must leave free; None: 5 %, at least 2 GiB.
        show_key: Write a key that was just made to standard output even if that is not a terminal.
        stall_s: How long a client may keep the server waiting; each 8 KiB that move restore a second of it.

    Raises:
        UsageError: The address cannot be listened on.
        VaultLocationError: The vault cannot live there.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for chatty in ("uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    vault = open_vault_at(data_dir, catalog_url=catalog, blobs_url=blobs, reserve_bytes=reserve_bytes)
    try:
        keys = Keys(vault.foundation.catalog)
        url = _url(_ANY_ADDRESS.get(host, host), port)
        new_key = _welcome(keys, home, url)
        server = _server(vault, keys, stall_s)
        sys.stdout.write(f"Holdfast is serving {data_dir} at {url}\n")
        if new_key is not None:
            _tell_login(_url(_reachable(host), port), new_key, show_key=show_key or sys.stdout.isatty())
        sys.stdout.flush()
        gc.freeze()  # what is loaded now stays: the collector need not look at it again and again
        server.run(sockets=[listener])
    finally:
        vault.close()


def _server(vault: LocalVault, keys: Keys, stall_s: float) -> uvicorn.Server:
    def vault_of(key: str) -> LocalVault | None:
        identity = keys.find(hash_of(key)) if is_well_formed(key) else None
        return vault.for_caller(identity) if identity else None

    server = uvicorn.Server(server_config(create_app(vault_of, stall_s=stall_s)))

    def stop(*_: object) -> None:
        server.should_exit = True

    # While it runs uvicorn handles these itself; before, a signal must not be lost, and when it has stopped it
    # raises the signal once more, which must not end the process before the vault is closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return server


def server_config(app: FastAPI) -> uvicorn.Config:
    """Return how uvicorn is to serve the app."""
    return uvicorn.Config(
        app,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as exc:
        raise UsageError(
            f"Cannot listen on {host} port {port}: {exc}.",
            hint="Choose another --port, or stop what is using it.",
        ) from exc


def _welcome(keys: Keys, home: Path, url: str) -> str | None:
    """See to it that this machine's user has a key in his credentials; return it if it was made just now."""
    known = load_credentials(home)
    own = [entry for entry in known.values() if keys.find(hash_of(entry.api_key)) is not None]
    if url in known and known[url] in own:
        return None
    if own:  # the same vault was served under another URL before
        store_credential(home, url, own[0])
        return None
    if keys.exist():
        logging.getLogger(__name__).info("This vault has API keys; log in with one: holdfast login %s", url)
        return None
    user = to_label(getpass.getuser())
    key = new_api_key()
    keys.add(user, hash_of(key), label="first start", is_admin=True)
    store_credential(home, url, Credential(Secret(key), user))
    return key


def _tell_login(url: str, key: str, *, show_key: bool) -> None:
    sys.stdout.write(f"You are logged in on this machine. On others:  holdfast login {url}\n")
    if show_key:
        sys.stdout.write(f"with the key {key}  (it is shown only now)\n")
    else:
        sys.stdout.write("with the key from the credentials file of this machine\n")


def _reachable(host: str) -> str:
    return socket.gethostname() if host in _ANY_ADDRESS else host


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
