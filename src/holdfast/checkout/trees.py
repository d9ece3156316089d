"""Building the work tree and the index of a run as git trees, without touching a file of the user's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from holdfast.code.git import Git
from holdfast.code.state import Untracked
from holdfast.errors import GitError, MalformedContentError


@dataclass(frozen=True, slots=True)
class Trees:
    """What is to be checked out.

    Args:
        work: The tree of what git follows in the work tree.
        index: The tree of the index.
        restaged: The index is that of the run; else it is that of the commit.
    """

    work: str
    index: str


def empty_tree(git: Git) -> str:
    """Return the name of the tree without files."""
    return git.text("hash-object", "-w", "-t", "tree", os.devnull)


def build_trees(git: Git, index: Path, base: str, *, work: Path | None, staged: Path | None) -> Trees:
    """Apply patches to a tree, in an index of their own.

    Git refuses paths that lead out of the work tree or into ``.git``.

    Args:
        git: Git in the repository.
        index: A file for the index.
        base: The tree or commit that the patches are for.
        work: Patch that leads to the work tree; None: there is none.
        staged: Patch that leads to the index; None: there is none.

    Raises:
        MalformedContentError: A patch does not apply.
        GitError: The base cannot be read.
    """
    return Trees(work=_patched(git, index, base, work), index=_patched(git, index, base, staged))


def check_untracked(git: Git, index: Path, tree: str, files: Iterable[Untracked]) -> None:
    """Let git tell whether the untracked files of a run can lie in a tree.

    Raises:
        MalformedContentError: They cannot: a name that git refuses, or a file where the tree has a folder.
    """
    own = git.with_index(index)
    own.run("read-tree", tree)
    blob = own.text("hash-object", "-w", "-t", "blob", os.devnull)
    lines = b"".join(f"100644 {blob}\t{file.path}".encode(errors="surrogateescape") + b"\0" for file in files)
    try:
        own.run("update-index", "--add", "-z", "--index-info", data=lines)
    except GitError as exc:
        if exc.details.get("status") is None:
            raise
        raise MalformedContentError(
            f"The untracked files of the run cannot lie in its work tree: {exc.message}"
        ) from exc


def _patched(git: Git, index: Path, base: str, patch: Path | None) -> str:
    own = git.with_index(index)
    own.run("read-tree", base)
    if patch is not None:
        try:
            own.run("apply", "--cached", "--binary", "--whitespace=nowarn", str(patch.absolute()))
        except GitError as exc:
            if exc.details.get("status") is None:
                raise
            raise MalformedContentError(
                f"{patch.name} of the run does not apply to {base}: {exc.message}"
            ) from exc
    return own.text("write-tree")
