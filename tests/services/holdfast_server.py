"""A real server process on a free loopback port, as a child of whoever uses it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from holdfast.credentials import load_credential

PROGRAM = """
import sys
from pathlib import Path
from holdfast.server.serve import serve

serve(Path(sys.argv[1]), port=int(sys.argv[2]), home=Path(sys.argv[3]), **eval(sys.argv[4]))
"""


class HoldfastServer:
    """Serves the vault ``folder/data`` with the home ``folder/home``; the log is ``folder/server.log``.

    Args:
        folder: A folder of its own.
        **options: Further arguments of `serve`.
    """

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.home = folder / "home"
        self.port = 0
        self.output = ""
        self._options = options
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            str(self.data),
            str(self.port),
            str(self.home),
            repr(self._options),
        ]
        with (self.folder / "server.log").open("ab") as log, (self.folder / "server.out").open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=log, env=dict(os.environ))
        deadline = time.monotonic() + 20
        while not (found := re.search(r"at http://127\.0\.0\.1:(\d+)\n", self._read_output())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"The server did not start: {self.log}")
            time.sleep(0.02)
        self.port = int(found[1])

    def _read_output(self) -> str:
        self.output = (self.folder / "server.out").read_text()
        return self.output

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        credential = load_credential(self.home, self.url)
        assert credential is not None
        return str(credential.api_key)

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def kill(self, number: int = signal.SIGKILL) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def restart(self) -> None:
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
