"""Calling git: with the user's configuration kept out of what we read, with time limits, and with bounded output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from holdfast.errors import GitError, LocalFileError
from holdfast.settings import environment_for_git

_CONFIG = [
    "color.ui=false",
    "core.quotePath=true",
    "core.fsmonitor=false",
    "core.safecrlf=false",
    "core.pager=cat",
    "core.hooksPath=/dev/null",
    "diff.suppressBlankEmpty=false",
    "diff.relative=false",
    "submodule.recurse=false",
    "apply.whitespace=nowarn",
    "apply.ignoreWhitespace=no",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "init.templateDir=",
    "pack.threads=1",
]
_BLOCK_BYTES = 1 << 20
_WORDS = 600


class Git:
    """Git as seen from one folder.

    Args:
        where: The folder.
        timeout_s: Seconds after which a call is ended; None: never (a fetch takes as long as it takes, and may ask
            for a password on the terminal).
        index: Used instead of the repository's own index.
    """

    def __init__(self, where: Path, *, timeout_s: float | None = None, index: Path | None = None) -> None:
        self.where = where
        self._timeout_s = timeout_s
        self._index = index

    def with_index(self, index: Path) -> Git:
        """Return git on the same folder with another index."""
        return Git(self.where, timeout_s=self._timeout_s, index=index)

    def at(self, where: Path) -> Git:
        """Return git on another folder."""
        return Git(where, timeout_s=self._timeout_s)

    def run(self, *arguments: str, data: bytes | None = None) -> bytes:
        """Return what a git command writes.

        Args:
            *arguments: The command; a path in it may hold any bytes, as `os.fsdecode` gives them.
            data: Its standard input.

        Raises:
            GitError: Git is missing, failed, or took too long.
        """
        with self._process(arguments, data) as (process, errors):
            assert process.stdout is not None
            output = process.stdout.read()
            self._check(process, errors, arguments)
        return output

    def text(self, *arguments: str) -> str:
        """Return what a git command writes, without the line's end. Raises `GitError` as `run` does."""
        return os.fsdecode(self.run(*arguments)).removesuffix("\n")

    def ask(self, *arguments: str) -> str | None:
        """Return what a git command writes; None if it writes nothing, or says no."""
        try:
            return self.text(*arguments) or None
        except GitError as exc:
            if exc.details.get("status") is None:
                raise  # git did not answer at all
            return None

    def says_yes(self, *arguments: str) -> bool:
        """Tell whether a git command ends well."""
        try:
            self.run(*arguments)
        except GitError as exc:
            if exc.details.get("status") is None:
                raise
            return False
        return True

    def list(self, *arguments: str, data: bytes | None = None) -> list[str]:
        """Return the entries that a git command writes with NUL between them (``-z``)."""
        return [os.fsdecode(entry) for entry in self.run(*arguments, data=data).split(b"\0") if entry]

    def write(self, target: Path, *arguments: str, limit: int) -> int | None:
        """Write the output of a git command to a file.

        Returns:
            Its size in bytes; None if it would be larger than ``limit``: then there is no file.

        Raises:
            GitError: As `run`; then there is no file either.
            OSError: The file cannot be written.
        """
        size = 0
        try:
            with self._process(arguments, None) as (process, errors), target.open("wb") as file:
                assert process.stdout is not None
                while block := process.stdout.read(_BLOCK_BYTES):
                    size += len(block)
                    if size > limit:
                        break
                    file.write(block)
                if size <= limit:
                    self._check(process, errors, arguments)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        if size > limit:
            target.unlink()
            return None
        return size

    @contextlib.contextmanager
    def _process(
        self, arguments: Iterable[str], data: bytes | None
    ) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        """Start git; it has ended when the block ends, whatever the block did."""
        command = ["git", *(part for item in _CONFIG for part in ("-c", item)), *arguments]
        environ = environment_for_git()
        if self._index is not None:
            environ["GIT_INDEX_FILE"] = str(self._index)
        if self._timeout_s is not None:
            # Nobody is there to answer a question, nothing is fetched, and the user's index is not rewritten.
            environ |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
        with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as source:
            if data:
                source.write(data)
                source.seek(0)
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self.where,
                    env=environ,
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=self._timeout_s is not None,
                )
            except FileNotFoundError as exc:
                if not self.where.is_dir():
                    raise LocalFileError(f"{self.where} is not a folder.") from exc
                raise GitError(
                    "git is not installed.", hint="Install git, or set HOLDFAST_DISABLE_GIT=true."
                ) from exc
            except OSError as exc:
                raise GitError(f"git cannot be started: {exc}.") from exc
            limit = None if self._timeout_s is None else threading.Timer(self._timeout_s, _end, [process])
            if limit is not None:
                limit.start()
            try:
                yield process, errors
            finally:
                if limit is not None:
                    limit.cancel()
                _end(process)
                assert process.stdout is not None
                process.stdout.close()
                process.wait()

    def _check(self, process: subprocess.Popen[bytes], errors: IO[bytes], arguments: tuple[str, ...]) -> None:
        status = process.wait()
        if status == 0:
            return
        errors.seek(0)
        words = errors.read(_WORDS * 10).decode(errors="replace").strip()[-_WORDS:]
        if status < 0:
            raise GitError(f"git {arguments[0]} was ended after {self._timeout_s} s. {words}".rstrip())
        raise GitError(
            f"git {' '.join(arguments[:2])} failed in {self.where}: {words or f'status {status}'}",
            details={"status": status},
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and what it started (filters, for example), if it still runs."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
