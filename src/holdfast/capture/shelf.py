"""Puts captured files into ``run.dir``: whole or not at all, and never in the place of a file of the user's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from holdfast.errors import LocalFileError
from holdfast.rundir.facts import Opened
from holdfast.rundir.layout import RunDirectory


class Shelf:
    """The place in ``run.dir`` where a capture process puts its files.

    Args:
        directory: The run directory.
        opened: Which run and rank it is of.
    """

    def __init__(self, directory: RunDirectory, opened: Opened) -> None:
        self._opened = opened
        self._files = directory.files
        self._part = directory.path / f"capture.part.{os.getpid()}"

    @property
    def files(self) -> Path:
        """``run.dir``."""
        return self._files

    @property
    def scratch(self) -> Path:
        """A folder on the same disk for what is not yet whole; whoever makes it removes it."""
        return self._part.with_name(f"capture.scratch.{os.getpid()}")

    @property
    def is_first(self) -> bool:
        """Whether it is that of rank 0, which captures what all ranks have in common."""
        return self._opened.rank == 0

    def put(self, name: str, content: str | bytes) -> None:
        """Make a file of the run; nothing happens if there is one of that name.

        Args:
            name: The name within the run, as rank 0 has it.
            content: Text is written as UTF-8; what is not valid Unicode in it is written as it came from the system.

        Raises:
            LocalFileError: It cannot be written.
        """
        with self.open(name) as file:
            file.write(content.encode(errors="surrogateescape") if isinstance(content, str) else content)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Make a file of the run out of what is written within the ``with``; as `put`.

        An error within leaves nothing behind.
        """
        try:
            with self._part.open("wb") as file:
                yield file
            self._publish(self._files / self._opened.own_name(name))
        except OSError as exc:
            raise LocalFileError(f"{name} cannot be captured: {exc.strerror or exc}.") from exc
        finally:
            self._part.unlink(missing_ok=True)

    def _publish(self, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self._part, place)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if not os.path.lexists(place):
                self._part.replace(place)
