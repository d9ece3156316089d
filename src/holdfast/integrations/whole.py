"""Files of ``run.dir`` that are never there in part."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[str]:
    """Give a path of the same name to write to, beside ``run.dir``; the file gets its place when the block has ended well.

    Args:
        target: A file directly in ``run.dir``; it is replaced as a whole, and left as it is when the block fails.

    Raises:
        OSError: The disk refused.
    """
    with tempfile.TemporaryDirectory(prefix="part-", dir=target.parent.parent) as folder:
        part = Path(folder, target.name)
        yield str(part)
        part.replace(target)
