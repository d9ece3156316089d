"""Getting the commit of a run into a repository: it may be here, among the files of the run, or on the remote."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from holdfast.code.git import Git
from holdfast.code.remotes import same_place
from holdfast.code.state import CodeState
from holdfast.errors import CommitNotFoundError, GitError

_FETCHED = "refs/holdfast/restore"
_URL = re.compile(
    r"(?:https?|ssh|git|git\+ssh|file)://[^-].*"
    r"|/.*"
    r"|(?:[^-/:@][^/:@]*@)?[^-/:@][^/:@]*:(?!//)[^:].*",  # user@host:path
    re.DOTALL,
)


def has_commit(git: Git, commit: str) -> bool:
    """Tell whether a repository has a commit."""
    return git.says_yes("cat-file", "-e", f"{commit}^{{commit}}")


def find_commit(git: Git, state: CodeState, bundle: Path | None, tell: Callable[[str], None]) -> str | None:
    """Return the commit that the work tree of a run is to be built on, once the repository has it.

    Fetches from the remote when it must. Refs that are made on the way are below ``refs/holdfast/restore``; see
    `forget_fetched`.

    Args:
        git: Git in the repository.
        state: The state of the run's code.
        bundle: The bundle of commits among the run's files.
        tell: Is told what takes its time.

    Returns:
        The commit of the run, or its upstream commit where only that can be had; None if the run had no commit.

    Raises:
        CommitNotFoundError: Neither can be had; the message says what was tried.
    """
    if state.commit is None:
        return None
    reasons: list[str] = []
    if _obtain(git, state, bundle, tell, reasons):
        return state.commit
    upstream = state.upstream.commit if state.upstream and state.upstream_diff else None
    if upstream is not None and has_commit(git, upstream):
        return upstream
    left_out = [f"{item.path}: {item.reason}" for item in state.left_out if item.path.endswith(".bundle")]
    raise CommitNotFoundError(
        f"The commit {state.commit} of the run cannot be had. {' '.join([*reasons, *left_out])}".rstrip(),
        hint="Run this where the commit is, or push it from there.",
    )


def forget_fetched(git: Git) -> None:
    """Remove the refs that fetching made; a branch holds what is needed."""
    for ref in (git.ask("for-each-ref", "--format=%(refname)", _FETCHED) or "").split():
        git.run("update-ref", "-d", ref)


def check_url(url: str) -> str:
    """Return the URL of a remote, which comes from a run, if git may be pointed at it.

    Raises:
        GitError: It would run a program, or be taken for an option.
    """
    if not url.isprintable() or not _URL.fullmatch(url) or "::" in url.split("/", 1)[0]:
        raise GitError(f"The run's remote {url!r} is no URL that is fetched from.")
    return url


def _obtain(
    git: Git, state: CodeState, bundle: Path | None, tell: Callable[[str], None], reasons: list[str]
) -> bool:
    """Try the places in turn; the bundle once more when the remote has given what it builds on."""
    commit = state.commit
    assert commit is not None

    def from_bundle() -> None:
        if bundle is not None:
            git.run("fetch", "--no-tags", "--", str(bundle), f"+HEAD:{_FETCHED}/bundle")

    def from_remote() -> None:
        if state.remote is None:
            raise GitError("It was in a repository without a remote.")
        tell(f"Fetching from {check_url(state.remote.url)}")
        _fetch(git, state.remote.url, commit)

    if has_commit(git, commit):
        return True
    for attempt in (from_bundle, from_remote, from_bundle):
        try:
            attempt()
        except GitError as exc:
            reasons.append(exc.message)
        if has_commit(git, commit):
            return True
    return False


def _fetch(git: Git, url: str, commit: str) -> None:
    names = (git.ask("remote") or "").split("\n")
    known = [name for name in names if name and same_place(git.ask("remote", "get-url", name) or "", url)]
    if known:
        git.run("fetch", "--no-tags", "--no-recurse-submodules", "--", known[0])
    else:
        git.run(
            "fetch",
            "--no-tags",
            "--no-recurse-submodules",
            "--",
            url,
            f"+refs/heads/*:{_FETCHED}/heads/*",
        )
    if not has_commit(git, commit):  # a commit that no branch holds any more; not every server gives it
        git.says_yes(
            "fetch",
            "--no-tags",
            "--no-recurse-submodules",
            "--",
            known[0] if known else url,
            f"+{commit}:{_FETCHED}/commit",
        )
