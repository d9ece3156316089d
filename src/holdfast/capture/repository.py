"""What git knows of the folder that a training was started in."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from holdfast.capture.secrets import without_credentials

_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository as it is checked out."""

    root: str
    commit: str | None
    """None: there is no commit yet."""
    branch: str | None
    """None: HEAD is detached."""
    remote: str | None
    """The URL that this branch is fetched from, else that of ``origin``, without credentials; None: there is none."""


def find_repository(folder: str) -> Repository | None:
    """Return the repository that a folder is in; None if it is in none, or there is no git.

    Asks git a few times, which may take a second on a network disk; nothing in the repository is changed.
    """
    root = git(folder, "rev-parse", "--show-toplevel")
    if root is None:
        return None
    branch = git(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    tracked = None if branch is None else git(folder, "config", f"branch.{branch}.remote")
    remote = git(folder, "remote", "get-url", tracked or "origin")
    return Repository(
        root=root,
        commit=git(folder, "rev-parse", "--quiet", "--verify", "HEAD^{commit}"),
        branch=branch,
        remote=None if remote is None else without_credentials(remote),
    )


def git(folder: str, *arguments: str) -> str | None:
    """Return what a git command says; None if it fails, takes too long, or there is no git."""
    command = ["git", "--no-optional-locks", "-C", folder, *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")
