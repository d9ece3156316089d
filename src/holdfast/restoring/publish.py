"""Publishing: from complete, verified parts to files under their final names, durably.

**Invariants.** The bytes of a part are durable before it gets its final name, so no crash of the machine leaves a
partial file there; the names are durable when `Publisher.flush` returns. Without ``replace`` a name that somebody
took in the meantime is not overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence

from holdfast.errors import HoldfastError, TargetExistsError
from holdfast.restoring.disk import flush_file_systems
from holdfast.restoring.folders import Folder, Folders, disk_error
from holdfast.restoring.task import FileTask

_BATCH_FILES = 1024
_BATCH_BYTES = 256 << 20
_SINGLY_UP_TO = 16
_NO_LINKS_HERE = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


class Publisher:
    """Collects complete parts and publishes them in batches. Safe to use from several threads.

    Args:
        folders: Where the parts are.
        replace: Overwrite what is at the names.
        done: Called for each file with None, or with why it could not be published.
    """

    def __init__(
        self, folders: Folders, *, replace: bool, done: Callable[[FileTask, HoldfastError | None], None]
    ) -> None:
        self._folders, self._replace, self._done = folders, replace, done
        self._lock = threading.Lock()
        self._batch: list[FileTask] = []
        self._size = 0

    def add(self, task: FileTask) -> None:
        """Take a complete part; it may be published at once or later."""
        with self._lock:
            self._batch.append(task)
            self._size += task.info.size
            if len(self._batch) < _BATCH_FILES and self._size < _BATCH_BYTES:
                return
            batch = self._take()
        self._publish(batch)

    def flush(self) -> None:
        """Publish all that was added."""
        with self._lock:
            batch = self._take()
        if batch:
            self._publish(batch)

    def _take(self) -> list[FileTask]:
        batch, self._batch, self._size = self._batch, [], 0
        return batch

    def _publish(self, batch: Sequence[FileTask]) -> None:
        try:
            self._make_durable(batch)
            results = [(task, self._name(task)) for task in batch]
            self._sync_folders([task for task, error in results if error is None])
        except OSError as exc:
            results = [(task, disk_error(exc, task.path)) for task in batch]
        for task, error in results:
            self._done(task, error)

    def _make_durable(self, batch: Sequence[FileTask]) -> None:
        if len(batch) > _SINGLY_UP_TO and self._flush_devices(batch):
            return
        for task in batch:
            fd = task.part.open()
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _flush_devices(self, batch: Sequence[FileTask]) -> bool:
        one_a_device = {task.device: task.part.parts for task in batch}
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(self._folders.hold(parts)) for parts in one_a_device.values()]
            return flush_file_systems(folder.fd for folder in held)

    def _name(self, task: FileTask) -> HoldfastError | None:
        try:
            with self._folders.hold(task.part.parts) as folder:
                self._give_name(folder, task.part.name, task.part.target)
        except FileExistsError:
            return TargetExistsError(f"{task.path} appeared while it was being restored.")
        except HoldfastError as exc:
            return exc
        except OSError as exc:
            return disk_error(exc, task.path)
        return None

    def _give_name(self, folder: Folder, part: str, target: str) -> None:
        if not self._replace:
            try:
                folder.link(part, target)
            except OSError as exc:
                if exc.errno not in _NO_LINKS_HERE or folder.has(target):
                    raise
            else:
                folder.unlink(part)
                return
        folder.rename(part, target)

    def _sync_folders(self, published: Sequence[FileTask]) -> None:
        folders = {task.part.parts for task in published}
        touched = {parts[:depth] for parts in folders for depth in range(len(parts) + 1)}
        if len(touched) > _SINGLY_UP_TO and self._flush_devices(published):
            return
        for parts in touched:
            with self._folders.hold(parts) as folder:
                os.fsync(folder.fd)
