"""Where the code of a run is put: the repository that the user stands in, a new work tree of it, or a new clone."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfast.checkout.commits import check_url, has_commit
from holdfast.code.git import Git
from holdfast.code.remotes import same_place
from holdfast.code.state import CodeState
from holdfast.errors import DirtyTreeError, GitError, LocalFileError, TargetExistsError, UsageError

_OPERATIONS = ("MERGE_HEAD", "rebase-merge", "rebase-apply", "CHERRY_PICK_HEAD", "REVERT_HEAD")


def find_repository(folder: Path) -> Git | None:
    """Return git at the top of the work tree that a folder lies in; None if it lies in none.

    Raises:
        GitError: Git is missing or refuses to work there.
    """
    try:
        return Git(Path(Git(folder).text("rev-parse", "--show-toplevel")))
    except GitError as exc:
        if exc.details.get("status") is not None and (
            "not a git repository" in exc.message or "must be run in a work tree" in exc.message
        ):
            return None
        raise


def is_same_repository(git: Git, state: CodeState) -> bool:
    """Tell whether a repository is the one that a run was made in: by its history, else by its remote."""
    known = [*state.root_commits, *([state.commit] if state.commit else [])]
    if any(has_commit(git, commit) for commit in known):
        return True
    if state.upstream is not None and has_commit(git, state.upstream.commit):
        return True
    if state.remote is not None:
        urls = (git.ask("remote", "get-url", name) for name in (git.ask("remote") or "").split())
        return any(url is not None and same_place(url, state.remote.url) for url in urls)
    return state.commit is None and git.ask("rev-parse", "--verify", "--quiet", "HEAD") is None


def own_repository(folder: Path, state: CodeState) -> Git:
    """Return git at the top of the work tree of the user, which must be of the run's repository.

    Raises:
        UsageError: The folder lies in no repository, or in another one.
    """
    git = find_repository(folder)
    if git is None:
        raise UsageError(
            f"{folder} is not in a git repository.",
            hint="Go to a clone of the run's repository, or pass --into DIR to make one.",
        )
    if not is_same_repository(git, state):
        of_run = f" ({state.remote.url!r})" if state.remote else ""
        raise UsageError(
            f"{git.where} is not the repository that the run was made in{of_run}.",
            hint="Go to a clone of that one, or pass --into DIR to make one.",
        )
    return git


def check_clean(git: Git, *, stash: bool) -> bool:
    """Tell whether changes are to be put aside first.

    Raises:
        DirtyTreeError: There are changes and ``stash`` is False, or a merge or the like is under way.
    """
    for name in _OPERATIONS:
        if Path(git.text("rev-parse", "--path-format=absolute", "--git-path", name)).exists():
            raise DirtyTreeError(
                f"In {git.where} a merge, rebase or the like is under way.",
                hint="Finish or abort it, or pass --into DIR to restore elsewhere.",
            )
    changes = git.list("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty")
    if changes and not stash:
        raise DirtyTreeError(f"{git.where} has changes that are not committed, such as {changes[0][3:]!r}.")
    return bool(changes)


@contextlib.contextmanager
def new_place(
    into: Path, folder: Path, state: CodeState, bundle: Path | None, tell: Callable[[str], None]
) -> Iterator[Git]:
    """Make a new work tree, or a clone, in an empty folder; it is there when the block ends well, else it is not.

    Args:
        into: Where; it may be there if it is empty.
        folder: Where the user stands: in a clone of the run's repository a work tree of that is made.
        state: The state of the run's code.
        bundle: The bundle of commits among the run's files.
        tell: Is told what takes its time.

    Raises:
        TargetExistsError: The folder is there and not empty.
        GitError: The remote cannot be cloned.
        LocalFileError: The folder cannot be made.
    """
    into = Path(os.path.abspath(into))  # noqa: PTH100 - absolute() keeps ".."
    if os.path.lexists(into) and (not into.is_dir() or any(into.iterdir())):
        raise TargetExistsError(
            f"{into} is there already and not empty.", hint="Pass another folder to --into."
        )
    own = find_repository(folder) if state.commit is not None else None
    if (
        own is not None
        and is_same_repository(own, state)
        and own.ask("rev-parse", "--verify", "--quiet", "HEAD")
    ):
        with _new_work_tree(own, into) as git:
            yield git
        return
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{into.name}.", suffix=".holdfast-part", dir=into.parent))
        try:
            part.chmod(0o777 & ~_umask())
            yield _new_clone(part, state, bundle, tell)
            part.replace(into)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as exc:
        if isinstance(exc, LocalFileError | TargetExistsError):
            raise
        raise LocalFileError(f"{into} cannot be made: {exc.strerror}.") from exc


@contextlib.contextmanager
def _new_work_tree(own: Git, into: Path) -> Iterator[Git]:
    was_there = into.exists()
    own.run("worktree", "add", "--no-checkout", "--detach", "--", str(into))
    try:
        yield own.at(into)
    except BaseException:
        own.says_yes("worktree", "remove", "--force", "--", str(into))
        if was_there:
            into.mkdir(exist_ok=True)
        raise


def _new_clone(part: Path, state: CodeState, bundle: Path | None, tell: Callable[[str], None]) -> Git:
    git = Git(part)
    if state.remote is not None:
        url = check_url(state.remote.url)
        tell(f"Cloning {url}")
        try:
            Git(part.parent).run(
                *("clone", "--quiet", "--no-checkout", "--origin=origin", "--no-recurse-submodules"),
                *("--", url, str(part)),
            )
            return git
        except GitError:
            if bundle is None or state.upstream is not None:
                raise  # the bundle alone is not the whole history
            for left in part.iterdir():
                shutil.rmtree(left)
    kind = "sha256" if state.commit is not None and len(state.commit) == 64 else "sha1"
    git.run("init", "--quiet", f"--object-format={kind}")
    return git


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
