"""Capturing the code of a run: what of it is not in the commit that the remote has.

**How it works.** A clone of the remote has the commit, or at least an ancestor of it. What is kept is the rest: a bundle of the
commits that the remote lacks, the patches from the commit to the index and to the work tree, and the small files that
git does not follow. As a second way for when the bundle is not there, a patch from the newest commit that the remote has
leads to the same work tree.

**Invariants**

- Nothing of the repository is changed, and no remote is asked.
- A patch that would be larger than the limit is left out as a whole, and the state says so.
- `code/state.json` is written last: what it names is there.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from holdfast.code.git import Git
from holdfast.code.keeping import Keeper
from holdfast.code.rules import CodeRules
from holdfast.code.state import STATE_FILE, CodeState
from holdfast.code.worktree import WorkTree
from holdfast.errors import GitError, HoldfastError, LocalFileError

GIT_TIMEOUT_S = 120.0
_PROGRAMS = frozenset({".py", ".ipynb", ".sh"})


def capture_code(
    cwd: Path, into: Path, *, scratch: Path, rules: CodeRules, program: Path | None = None
) -> CodeState:
    """Write the state of the code in a folder as files of a run.

    Never asks a remote, and changes nothing in the repository. Whatever git says or cannot do ends in the state's
    ``left_out``. May be called again after it was killed.

    Args:
        cwd: The folder of the run's program; may lie anywhere in a work tree, or in none.
        into: ``run.dir``.
        scratch: A folder on the same disk that belongs to this call alone; it is removed before and after.
        rules: What is taken.
        program: The program file.

    Returns:
        The state that was written.

    Raises:
        LocalFileError: The run directory cannot be written.
    """
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        program = None if program is None else Path(os.path.realpath(cwd / program))
        try:
            keeper = Keeper(into, scratch)
            state, top = _of_repository(cwd, program, keeper, scratch, rules)
            if rules.save_code and program is not None:
                state = _with_program(state, top, program, keeper, rules)
            state = replace(state, left_out=tuple(keeper.left_out))
            keeper.publish(STATE_FILE, state.encode())
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as exc:
        if isinstance(exc, HoldfastError):
            raise
        raise LocalFileError(f"The state of the code cannot be written to {into}: {exc}.") from exc
    return state


def _of_repository(
    cwd: Path, program: Path | None, keeper: Keeper, scratch: Path, rules: CodeRules
) -> tuple[CodeState, Path]:
    """Return the state of the work tree that the run was started in, and its top; else nothing, and the folder.

    Where the working directory is in no repository, that of the program counts.
    """
    if rules.disable_git:
        return CodeState(), cwd
    for folder in (cwd, *([program.parent] if program is not None and _is_program(program) else [])):
        git = Git(folder, timeout_s=GIT_TIMEOUT_S)
        try:
            if git.text("rev-parse", "--is-inside-work-tree") != "true":
                keeper.leave_out("", f"{folder} lies in a git repository without a work tree.")
                break
            top = Path(git.text("rev-parse", "--show-toplevel"))
            return WorkTree(git.at(top), cwd, keeper, scratch, rules).state(), top
        except GitError as exc:
            if not any(os.path.lexists(parent / ".git") for parent in (folder, *folder.parents)):
                continue
            keeper.leave_out("", exc.message)  # dubious ownership, a broken repository, no git
            break
    return CodeState(), cwd


def _with_program(state: CodeState, top: Path, program: Path, keeper: Keeper, rules: CodeRules) -> CodeState:
    """Take the program file, unless git or the untracked files have it."""
    if not _is_program(program):
        return state
    inside = program.relative_to(top).as_posix() if program.is_relative_to(top) else None
    if state.git and inside is not None and _is_kept(state, top, inside):
        return state
    kept = keeper.keep_file(program, inside or program.name, "code/program", limit=rules.file_limit)
    return replace(state, program=kept)


def _is_program(path: Path) -> bool:
    """Tell whether it is a script, and not an installed command or the kernel of a notebook."""
    return path.suffix in _PROGRAMS and path.is_file()


def _is_kept(state: CodeState, top: Path, path: str) -> bool:
    if any(file.path == path for file in state.untracked):
        return True
    git = Git(top, timeout_s=GIT_TIMEOUT_S)
    return git.says_yes("ls-files", "--error-unmatch", "--", f":(top,literal){path}")
