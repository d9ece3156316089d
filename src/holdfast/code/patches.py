"""The patches and the bundle of a repository's state: always in one form, whatever the user's configuration says."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from holdfast.code.git import Git

# No renames: git cannot apply one in which a symbolic link makes room for a folder.
_FORM = [
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--unified=3",
    "--inter-hunk-context=0",
    "--no-relative",
    "--ignore-submodules=dirty",
    "--submodule=short",
    "--no-renames",
    "-O/dev/null",
    "--ws-error-highlight=none",
    "--diff-algorithm=myers",
]
_NAMES = [
    "--name-only",
    "-z",
    "--no-renames",
    "--no-ext-diff",
    "--no-relative",
    "--ignore-submodules=dirty",
    "-O/dev/null",
]


def write_patch(git: Git, target: Path, *tree: str, without: Iterable[str], limit: int) -> int | None:
    """Write a patch that `git apply` can apply.

    Args:
        git: Git at the top of the work tree.
        target: The new file.
        *tree: What is compared, as `git diff` takes it: a tree with the work tree, or ``--cached`` and a tree.
        without: Paths that are left out of it.
        limit: Bytes.

    Returns:
        Its size, 0 if nothing differs; None if it would be larger than the limit: then there is no file.

    Raises:
        GitError: Git failed.
        OSError: The file cannot be written.
    """
    return git.write(target, "diff", *_FORM, *tree, "--", *_all_but(without), limit=limit)


def changed_paths(git: Git, *tree: str, kinds: str = "") -> list[str]:
    """Return the paths that differ, as `write_patch` compares; ``kinds`` as in ``--diff-filter``."""
    return git.list("diff", *_NAMES, *([f"--diff-filter={kinds}"] if kinds else []), *tree, "--", ":(top)")


def write_bundle(git: Git, target: Path, known: Sequence[str], *, limit: int) -> int | None:
    """Write a bundle of the history of HEAD without what is reachable from ``known``; returns as `write_patch`."""
    return git.write(target, "bundle", "create", "-q", "-", "HEAD", "--not", *known, limit=limit)


def index_of_work_tree(git: Git, index: Path, unmerged: Iterable[str]) -> Git:
    """Return git with an index of its own in which nothing is unmerged, for comparing the work tree during a merge.

    The repository's own index cannot be compared while paths in it are unmerged.
    """
    own = git.text("rev-parse", "--path-format=absolute", "--git-path", "index")
    shutil.copy2(own, index)  # with its time, by which git tells which entries may be newer than they look
    other = git.with_index(index)
    paths = list(unmerged)
    data = b"".join(path.encode(errors="surrogateescape") + b"\0" for path in paths)
    other.run("update-index", "-z", "--force-remove", "--stdin", data=data)
    there = [path for path in paths if (git.where / path).is_symlink() or (git.where / path).exists()]
    if there:
        mark_to_add(other, there)
    return other


def mark_to_add(git: Git, paths: Iterable[str]) -> None:
    """Mark paths as `git add -N` does."""
    data = b"".join(f":(top,literal){path}".encode(errors="surrogateescape") + b"\0" for path in paths)
    git.run("add", "-N", "--force", "--pathspec-from-file=-", "--pathspec-file-nul", data=data)


def _all_but(paths: Iterable[str]) -> list[str]:
    return [":(top)", *(f":(top,exclude,literal){path}" for path in paths)]
