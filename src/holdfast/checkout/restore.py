"""Restoring the code of a run.

**How it works.** The commit is found or fetched; from it and the patches two trees are built, that of the work tree and that
of the index. Git then changes the user's files from the tree of his HEAD to the first, which it does only if nothing of
the user's is in the way; the untracked files are placed; the new branch becomes HEAD, and the index gets the second tree.

**Invariants**

- What cannot be restored is known before a file of the user's is touched, as far as it can be known.
- A failure after that takes everything back: files, branch, HEAD, stash.
- Nothing is written outside the work tree, through a symbolic link, or into ``.git``.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.checkout.commits import find_commit, forget_fetched
from holdfast.checkout.places import check_clean, new_place, own_repository
from holdfast.checkout.placing import Placer, find_in_the_way
from holdfast.checkout.trees import Trees, build_trees, check_untracked, empty_tree
from holdfast.code.git import Git
from holdfast.code.patches import mark_to_add
from holdfast.code.state import STATE_FILE, CodeState, Part
from holdfast.errors import ConflictError, TargetExistsError, UsageError

_MOST_TOLD = 20


@dataclass(slots=True)
class RestoredCode:
    """What came of restoring the code of a run."""

    folder: Path
    """The top of the work tree."""
    branch: str | None = None
    commit: str | None = None
    """The commit that the branch is at; None: there is none yet."""
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """A sentence for each part that could not be restored."""


def restore_code(
    state: CodeState,
    parts: Mapping[str, Path],
    *,
    folder: Path,
    into: Path | None,
    branch: str,
    stash: bool = False,
    tell: Callable[[str], None],
) -> RestoredCode:
    """Put the code of a run into a work tree of git, on a new branch.

    Args:
        state: The state of the run's code.
        parts: The files of the run that belong to it, by name; those that could not be had are not in there.
        folder: Where the user stands.
        into: An empty folder in which a new work tree or a clone is made; None: the work tree that ``folder`` is in.
        branch: Name of the new branch.
        stash: Put changes of the work tree aside (`git stash`) first.
        tell: Is told what takes its time.

    Returns:
        What came of it; the caller must look at ``missing``.

    Raises:
        UsageError: The folder lies in no repository, or in another one; the branch cannot have this name.
        DirtyTreeError: The work tree has changes, and ``stash`` is False.
        TargetExistsError: Files of the user's are in the way, or ``into`` is not empty.
        ConflictError: There is a branch of this name.
        CommitNotFoundError: The commit is neither here nor on the remote nor among the run's files.
        MalformedContentError: A patch does not apply, or names what it may not.
        GitError: Git failed; then everything is as it was.
    """
    if not state.git:
        return _restore_program(state, parts, into or folder)
    bundle = _path(state.commits, parts)
    if into is not None:
        with new_place(into, folder, state, bundle, tell) as git:
            result = _Restore(git, state, parts, branch, tell).run(must_stash=False)
        result.folder = Path(os.path.abspath(into))  # noqa: PTH100 - absolute() keeps ".."
        return result
    git = own_repository(folder, state)
    return _Restore(git, state, parts, branch, tell).run(must_stash=check_clean(git, stash=stash))


def _restore_program(state: CodeState, parts: Mapping[str, Path], folder: Path) -> RestoredCode:
    result = RestoredCode(folder)
    if state.program is None:
        result.missing.append("The run was not made in a git repository, and its program file was not kept.")
    elif state.program.part is not None and state.program.part.name not in parts:
        result.missing.append(f"{state.program.path!r} is not among the files of the run.")
    else:
        Placer(folder, parts).place([state.program])
        result.notes.append(
            f"The run was not made in a git repository; its program is {state.program.path!r}."
        )
    return result


class _Restore:
    def __init__(
        self, git: Git, state: CodeState, parts: Mapping[str, Path], branch: str, tell: Callable[[str], None]
    ) -> None:
        self._git = git
        self._state = state
        self._parts = parts
        self._branch = branch
        self._ref = f"refs/heads/{branch}"
        self._tell = tell
        self._result = RestoredCode(git.where, branch)
        self._files = [
            file
            for file in (*state.untracked, *([state.program] if state.program else []))
            if file.part is None or file.part.name in parts
        ]

    def run(self, *, must_stash: bool) -> RestoredCode:
        git, state = self._git, self._state
        self._check_branch()
        with contextlib.ExitStack() as always, contextlib.ExitStack() as undo:
            always.callback(forget_fetched, git)
            commit = find_commit(git, state, _path(state.commits, self._parts), self._tell)
            trees = self._trees(commit, Path(always.enter_context(tempfile.TemporaryDirectory())))
            if must_stash:
                git.run("stash", "push", "--message", f"before {self._branch}")
                undo.callback(git.run, "stash", "pop", "--index")
            self._check_out(commit, trees, undo)
            undo.pop_all()
        self._result.commit = commit
        self._note_missing(commit)
        return self._result

    def _check_branch(self) -> None:
        if not self._git.says_yes("check-ref-format", self._ref) or self._branch.startswith("-"):
            raise UsageError(
                f"No branch can have the name {self._branch!r}.", hint="Pass another one to --branch."
            )
        taken = (self._git.ask("for-each-ref", "--format=%(refname)", "refs/heads/") or "").split("\n")
        for ref in taken:
            if ref == self._ref or ref.startswith(f"{self._ref}/") or self._ref.startswith(f"{ref}/"):
                raise ConflictError(
                    f"There is a branch {ref.removeprefix('refs/heads/')} already.",
                    hint=f"Pass another name to --branch, or delete it: git branch -D {ref.removeprefix('refs/heads/')}",
                )

    # -- before anything is touched

    def _trees(self, commit: str | None, scratch: Path) -> Trees:
        git, state = self._git, self._state
        exact = commit == state.commit
        trees = build_trees(
            git,
            scratch / "index",
            commit or empty_tree(git),
            work=_path(state.diff if exact else state.upstream_diff, self._parts),
            staged=_path(state.staged, self._parts) if exact else None,
        )
        check_untracked(git, scratch / "index", trees.work, self._files)
        return trees

    def _tree_of_head(self) -> str:
        has_index = Path(
            self._git.text("rev-parse", "--path-format=absolute", "--git-path", "index")
        ).exists()
        head = self._git.ask("rev-parse", "--verify", "--quiet", "HEAD^{tree}") if has_index else None
        return head or empty_tree(self._git)

    def _check_room(self, before: str, trees: Trees) -> list[str]:
        """Return the paths that git will make; files of the user's must not be there."""
        made = self._git.list(
            "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=A", before, trees.work
        )
        top = self._git.where
        in_the_way = [path for path in made if os.path.lexists(top / path) and not (top / path).is_dir()]
        in_the_way += find_in_the_way(top, self._files, self._parts)
        in_the_way = [path for path in in_the_way if not self._is_tracked(path)]
        if in_the_way:
            raise TargetExistsError(
                f"In {top} {len(in_the_way):,} file(s) that git does not follow are in the way, such as {in_the_way[0]!r}.",
                hint="Move them away, or pass --into DIR to restore elsewhere.",
            )
        return made

    def _is_tracked(self, path: str) -> bool:
        """Tell whether git has a file of this path in its index: then it is git that takes it away."""
        return self._git.says_yes("ls-files", "--error-unmatch", "--", f":(top,literal){path}")

    # -- changing the work tree

    def _check_out(self, commit: str | None, trees: Trees, undo: contextlib.ExitStack) -> None:
        git = self._git
        before = self._tree_of_head()
        made = self._check_room(before, trees)
        if commit is not None:
            git.run("update-ref", "-m", "holdfast restore", self._ref, commit, "0" * len(commit))
            undo.callback(git.says_yes, "update-ref", "-d", self._ref)
        undo.callback(self._take_back, before, made)
        git.run("read-tree", "-m", "-u", before, trees.work)
        placer = Placer(git.where, self._parts)
        undo.callback(placer.undo)
        placer.place(self._files)
        self._switch(undo)
        git.run("read-tree", "-m", trees.index)
        marked = [path for path in self._state.intent_to_add if os.path.lexists(git.where / path)]
        if marked and commit == self._state.commit:
            mark_to_add(git, marked)
        git.says_yes("update-index", "-q", "--refresh")

    def _take_back(self, before: str, made: list[str]) -> None:
        """Bring the work tree back to what it was: it had no changes, and nothing was at the paths that were made."""
        self._git.run("read-tree", "--reset", "-u", before)
        for path in made:
            with contextlib.suppress(OSError):
                (self._git.where / path).unlink()

    def _switch(self, undo: contextlib.ExitStack) -> None:
        git = self._git
        branch = git.ask("symbolic-ref", "--quiet", "HEAD")
        if branch is not None:
            undo.callback(git.run, "symbolic-ref", "HEAD", branch)
        else:
            undo.callback(git.run, "update-ref", "--no-deref", "HEAD", git.text("rev-parse", "HEAD"))
        git.run("symbolic-ref", "-m", f"holdfast restore: {self._branch}", "HEAD", self._ref)

    # -- what is told

    def _note_missing(self, commit: str | None) -> None:
        state, result = self._state, self._result
        names = {
            "diff": "diff.patch",
            "staged": "code/staged.patch",
            "upstream_diff": f"upstream_diff_{state.upstream.commit if state.upstream else None}.patch",
        }
        if commit != state.commit:
            result.notes.append(
                f"The commit {state.commit} cannot be had; the branch is at its ancestor {commit}, and what the missing "
                "commits changed is there as changes that are not committed."
            )
        kinds = ("diff", "staged") if commit == state.commit else ("upstream_diff",)
        for kind in kinds:
            part: Part | None = getattr(state, kind)
            if kind in state.missing:
                why = next((item.reason for item in state.left_out if item.path == names[kind]), "unknown")
                result.missing.append(f"{names[kind]} was left out when the run began: {_printable(why)}.")
            elif part is not None and part.name not in self._parts:
                result.missing.append(f"{part.name} is not among the files of the run.")
        result.missing += [
            f"{file.path!r} is not among the files of the run."
            for file in state.untracked
            if file.part is not None and file.part.name not in self._parts
        ]
        told = {*names.values(), "code/commits.bundle"}
        others = [item for item in state.left_out if item.path not in told]
        result.notes += [
            f"Left out when the run began: {f'{item.path!r}: ' if item.path else ''}{_printable(item.reason)}"
            for item in others[:_MOST_TOLD]
        ]
        if others[_MOST_TOLD:]:
            result.notes.append(
                f"... and {len(others) - _MOST_TOLD:,} more; {STATE_FILE} of the run lists them."
            )
        if state.operation is not None:
            result.notes.append(f"A {_printable(state.operation)} was under way; it is not restored as such.")


def _printable(text: str) -> str:
    """Return a text from elsewhere with nothing in it that a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _path(part: Part | None, parts: Mapping[str, Path]) -> Path | None:
    return None if part is None else parts.get(part.name)
