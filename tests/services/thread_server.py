"""The server's app on a real loopback socket, in a thread of this process: one for many short tests."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from holdfast.protocol.messages import Identity
from holdfast.server.app import create_app
from holdfast.server.serve import server_config
from holdfast.vault import LocalVault


class ThreadServer:
    """Serves several vaults at once: the API key decides which one."""

    def __init__(self) -> None:
        self._vaults: dict[str, LocalVault] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._server = uvicorn.Server(server_config(create_app(self._vaults.get)))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.001)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def add(self, vault: LocalVault) -> str:
        """Serve one more vault, to its user ``me``, and return the key to it."""
        key = f"hf_{secrets.token_hex(17)}"
        self._vaults[key] = vault.for_caller(Identity(user="me", entity="me"))
        return key

    def remove(self, key: str) -> None:
        del self._vaults[key]

    def close(self) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture(scope="session")
def thread_server() -> Iterator[ThreadServer]:
    server = ThreadServer()
    yield server
    server.close()
