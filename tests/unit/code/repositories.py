"""Real git repositories for tests, and what is in their work trees."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from holdfast.checkout.restore import RestoredCode, restore_code
from holdfast.code.capture import capture_code
from holdfast.code.rules import CodeRules
from holdfast.code.state import CodeState

IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


def git(where: Path, *arguments: str, data: bytes | None = None, code: int = 0) -> bytes:
    done = subprocess.run(
        ["git", *arguments],
        cwd=where,
        input=data,
        capture_output=True,
        env={**os.environ, **IDENTITY},
        check=False,
    )
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout


def make_repository(path: Path, files: dict[str, bytes] | None = None) -> Path:
    """Make a repository with one commit."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    write(path, files or {"train.py": b"print(1)\n", "sub/model.py": b"a\nb\nc\n"})
    git(path, "add", "-A")
    git(path, "commit", "-qm", "first")
    return path


def publish(repository: Path, remote: Path) -> None:
    """Make a bare remote and push everything to it."""
    git(repository.parent, "init", "-q", "--bare", "-b", "main", str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    git(repository, "push", "-q", "-u", "origin", "main")


def write(top: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def commit_all(repository: Path, message: str = "more") -> str:
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", message)
    return head(repository)


def head(repository: Path) -> str:
    return git(repository, "rev-parse", "HEAD").decode().strip()


def status(repository: Path) -> list[bytes]:
    return sorted(git(repository, "status", "--porcelain", "-z", "--no-renames").split(b"\0"))


def contents(top: Path) -> dict[str, tuple[bool, bytes]]:
    """Every file of a work tree: whether it can be run, and its bytes; of a link where it leads to."""
    found = {}
    for folder, folders, names in os.walk(os.fsencode(top)):
        if b".git" in folders:
            folders.remove(b".git")
        for name in [*names, *(item for item in folders if os.path.islink(os.path.join(folder, item)))]:
            path = os.path.join(folder, name)
            if name == b".git":
                continue
            relative = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
            if os.path.islink(path):
                found[relative] = (False, b"-> " + os.readlink(path))
            else:
                executable = bool(os.stat(path).st_mode & stat.S_IXUSR)
                found[relative] = (executable, Path(os.fsdecode(path)).read_bytes())
    return found


def everything(repository: Path) -> tuple:
    """What a failed restore must leave as it was."""
    return (
        contents(repository),
        status(repository),
        head(repository),
        git(repository, "symbolic-ref", "-q", "HEAD")
        if git(repository, "branch", "--show-current")
        else None,
        git(repository, "for-each-ref"),
        git(repository, "stash", "list"),
    )


class Run:
    """The files of a run: what capture made, and what restore is given."""

    def __init__(self, folder: Path, cwd: Path, *, program: Path | None = None, **rules) -> None:
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        self.state: CodeState = capture_code(
            cwd, self.files, scratch=folder / "scratch", rules=CodeRules(**rules), program=program
        )
        assert not (folder / "scratch").exists()
        assert CodeState.parse((self.files / "code/state.json").read_bytes()) == self.state

    def names(self) -> list[str]:
        return sorted(
            path.relative_to(self.files).as_posix()
            for path in self.files.rglob("*")
            if path.is_file() and path.name != "state.json"
        )

    def restore(self, folder: Path, *, state: CodeState | None = None, **options) -> RestoredCode:
        state = state or self.state
        parts = {
            part.name: self.files / part.name for part in state.parts() if (self.files / part.name).exists()
        }
        options = {"into": None, "branch": "holdfast/r1", "tell": str, **options}
        return restore_code(state, parts, folder=folder, **options)
