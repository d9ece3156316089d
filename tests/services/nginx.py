"""A real nginx on a free loopback port, with WebDAV PUT, as a child of whoever uses it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.services.ports import free_port

# One process in the foreground: a kill of it leaves nothing behind. All else is nginx's default.
_CONFIGURATION = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder}/root;
        location / {{
            dav_methods PUT DELETE;
            create_full_put_path on;
            {more}
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Return where nginx is, or None if it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Nginx:
    """Serves ``root`` (plain GET with ranges, and WebDAV PUT and DELETE) until it is closed.

    Args:
        folder: A folder of its own, on the file system where the files shall lie; made if need be.
        location: More lines for the location, such as ``proxy_pass http://127.0.0.1:8420;``.
    """

    def __init__(self, folder: Path, *, location: str = "") -> None:
        command = find_nginx()
        if command is None:
            raise FileNotFoundError("nginx is not installed (Debian: nginx-light).")
        self.root = folder / "root"
        self.root.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=self.port, more=location))
        log = folder / "error.log"
        self.process = subprocess.Popen(
            [command, "-p", str(folder), "-e", str(log), "-c", str(configuration)]
        )
        self._wait_until_ready(log)

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        self.close()
        raise RuntimeError(f"nginx did not start: {log.read_text() if log.exists() else 'no log'}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
