"""A real PostgreSQL: Debian's binaries, a data folder of its own, a free loopback port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.ports import free_port

_BINARIES = Path("/usr/lib/postgresql")


class Postgres:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._made = 0

    def new_database(self) -> str:
        """Return the URL of a new, empty database."""
        import psycopg

        self._made += 1
        name = f"vault_{os.getpid()}_{self._made}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{self._address(name).removeprefix('postgresql://')}"

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        import psycopg

        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _address(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"


@contextmanager
def running_postgres(*, is_durable: bool = True) -> Iterator[Postgres]:
    """Run a server while the block lasts. Fails if PostgreSQL is not installed (`make test` installs it).

    Args:
        is_durable: Sync to disk as in production; tests that never kill the server are faster without.
    """
    binaries = _find_binaries()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", free_port()
    sync = "on" if is_durable else "off"
    options = f"-p {port} -c fsync={sync} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    start = ["start", "--wait", "--silent", "--log", str(folder / "log"), "--options", options]
    try:
        _run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
            ]
        )
        _run([binaries / "pg_ctl", "-D", data, *start])
        try:
            yield Postgres(port)
        finally:
            _run([binaries / "pg_ctl", "-D", data, "stop", "--mode", "immediate"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_binaries() -> Path:
    found = sorted(_BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed; `make test` installs it.")
    return found[-1].parent


def _run(command: list[object]) -> None:
    """Run a command as the user postgres, for the server refuses to run as root."""
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    arguments = [str(part) for part in command]
    done = subprocess.run(
        arguments,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **user,
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed: {done.stdout}{done.stderr}")
