"""Putting the parts of the state among the files of the run: each whole, and never over a file of the user's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from holdfast.code.secrets import looks_secret
from holdfast.code.state import LeftOut, Part, Untracked, check_tree_path
from holdfast.content.hashing import ContentHasher
from holdfast.errors import InvalidNameError, LocalFileError, MalformedContentError
from holdfast.names import check_file_name

_BLOCK_BYTES = 1 << 20
_MAX_LEFT_OUT = 1000


class Keeper:
    """Takes files into the run.

    Args:
        into: ``run.dir``.
        scratch: A folder on the same disk; what is in it is not yet a file of the run.
    """

    def __init__(self, into: Path, scratch: Path) -> None:
        self._into = into
        self._scratch = scratch
        self._left_out: list[LeftOut] = []
        self._more = 0
        self._renamed = 0

    @property
    def left_out(self) -> list[LeftOut]:
        """What was left out so far; of very many files only the first."""
        rest = [LeftOut("*", f"{self._more:,} more files are left out")] if self._more else []
        return [*self._left_out, *rest]

    def leave_out(self, path: str, reason: str) -> None:
        """Note that something is not kept."""
        if len(self._left_out) < _MAX_LEFT_OUT:
            self._left_out.append(LeftOut(path, reason))
        else:
            self._more += 1

    def take(self, part: Path, name: str) -> Part:
        """Move a file of the scratch folder among the files of the run.

        Args:
            part: The file.
            name: Its name within the run; another one is used where a file of the user's has that.
        """
        size, digest = _digest(part)
        return Part(self._publish(part, name, digest), size, digest)

    def publish(self, name: str, data: bytes) -> None:
        """Make a file of the run under exactly this name.

        Raises:
            LocalFileError: A file of the user's has it.
        """
        part = self._scratch / "part"
        part.write_bytes(data)
        if self._publish(part, name, _digest(part)[1]) != name:
            raise LocalFileError(f"{self._into / name} is there already, and not by Holdfast.")

    def keep_file(self, path: Path, tree_path: str, folder: str, *, limit: int) -> Untracked | None:
        """Copy a file into the run, unless it is too large, no regular file, or looks like a secret.

        Args:
            path: The file.
            tree_path: Its path in the work tree.
            folder: Where it lies in the run.
            limit: Bytes.
        """
        try:
            check_tree_path(tree_path)
            found = path.lstat()
            if looks_secret(tree_path):
                self.leave_out(tree_path, "its name looks like that of a secret")
            elif stat.S_ISLNK(found.st_mode):
                return Untracked(tree_path, link=os.readlink(path))  # noqa: PTH115 - as it is, not made a Path
            elif not stat.S_ISREG(found.st_mode):
                self.leave_out(tree_path, "it is no regular file")
            elif found.st_size > limit or not self._copy(path, limit):
                self.leave_out(tree_path, f"it has more than {limit:,} bytes")
            else:
                part = self.take(self._scratch / "part", self._name(folder, tree_path))
                return Untracked(tree_path, part, executable=bool(found.st_mode & stat.S_IXUSR))
        except MalformedContentError:
            self.leave_out(tree_path, "no work tree may have a file of this name")
        except OSError as exc:
            if isinstance(exc, LocalFileError):
                raise
            self.leave_out(tree_path, f"it cannot be read: {exc.strerror}")
        return None

    def _copy(self, path: Path, limit: int) -> bool:
        """Copy a file to the scratch folder; tell whether it is within the limit, though it may be growing."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as source, (self._scratch / "part").open("wb") as part:  # noqa: PTH123 - a descriptor
            data = source.read(limit + 1)
            part.write(data)
        return len(data) <= limit

    def _name(self, folder: str, tree_path: str) -> str:
        """Return the name of a file within the run: its path, if a stored file can have that name."""
        name = f"{folder}/{tree_path}"
        try:
            if check_file_name(name) == name:
                return name
        except InvalidNameError:
            pass
        self._renamed += 1
        return f"code/other/names/{self._renamed}"

    def _publish(self, part: Path, name: str, digest: str) -> str:
        """Give a part its name, or one like it if there is another file of that name; return the name."""
        for candidate in (name, *(f"code/other/{number}/{name}" for number in range(100))):
            target = self._into / candidate
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(part, target)
            except (FileExistsError, NotADirectoryError):
                if target.is_symlink() or not target.is_file() or _digest(target)[1] != digest:
                    continue
            except OSError:  # a file system without hard links
                if os.path.lexists(target):
                    continue
                part.rename(target)
                return candidate
            part.unlink()
            return candidate
        raise LocalFileError(f"No name like {name} is free in {self._into}.")


def _digest(path: Path) -> tuple[int, str]:
    hasher = ContentHasher()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
            size += len(block)
    return size, hasher.digest().hex()
