"""The state of a work tree: where it stands, and what of it is not in a commit that the remote has."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from holdfast.code.git import Git
from holdfast.code.keeping import Keeper
from holdfast.code.patches import changed_paths, index_of_work_tree, write_bundle, write_patch
from holdfast.code.remotes import find_remote
from holdfast.code.rules import CodeRules
from holdfast.code.secrets import looks_secret
from holdfast.code.state import CodeState, Part, Submodule, Untracked, Upstream, check_tree_path
from holdfast.errors import GitError, MalformedContentError

_OPERATIONS = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}
_BUNDLE = "code/commits.bundle"
_DIFF = "diff.patch"
_STAGED = "code/staged.patch"
_MAX_UNTRACKED = 2000
_MAX_LISTED = 200_000


class WorkTree:
    """Captures one work tree.

    Args:
        git: Git at the top of the work tree.
        cwd: The folder of the run's program.
        keeper: Takes the parts.
        scratch: A folder for files that are not yet parts.
        rules: What is taken.
    """

    def __init__(self, git: Git, cwd: Path, keeper: Keeper, scratch: Path, rules: CodeRules) -> None:
        self._git = git
        self._top = git.where
        self._cwd = cwd
        self._keeper = keeper
        self._scratch = scratch
        self._rules = rules

    def state(self) -> CodeState:
        git = self._git
        commit = git.ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        branch = git.ask("symbolic-ref", "--quiet", "--short", "HEAD")
        state = CodeState(
            git=True,
            commit=commit,
            branch=branch,
            operation=self._operation(),
            cwd=self._inside(self._cwd),
            remote=find_remote(git, self._top, branch),
        )
        if commit is not None:
            state = replace(state, root_commits=self._root_commits(), upstream=self._upstream(state))
        if not self._rules.save_code:
            return state
        try:
            state = self._with_patches(state)
            return replace(state, submodules=self._submodules(), untracked=self._untracked())
        except GitError as exc:  # a disk that is too slow, a damaged index; the commit is known all the same
            self._keeper.leave_out(_DIFF, exc.message)
            return replace(state, missing=tuple({*state.missing, "diff"}))

    # -- where it stands

    def _inside(self, folder: Path) -> str:
        real = Path(os.path.realpath(folder))
        top = Path(os.path.realpath(self._top))
        path = real.relative_to(top).as_posix() if real.is_relative_to(top) else "."
        return "" if path == "." or not _is_tree_path(path) else path

    def _operation(self) -> str | None:
        for name, operation in _OPERATIONS.items():
            if Path(self._git.text("rev-parse", "--path-format=absolute", "--git-path", name)).exists():
                return operation
        return None

    def _root_commits(self) -> tuple[str, ...]:
        if self._is_shallow():
            return ()  # what looks like a root is just where the history was cut
        return tuple(self._git.text("rev-list", "--max-parents=0", "HEAD").split())

    def _is_shallow(self) -> bool:
        return self._git.text("rev-parse", "--is-shallow-repository") == "true"

    def _upstream(self, state: CodeState) -> Upstream | None:
        """Return the newest ancestor of the commit among what the remote was last known to have."""
        git, commit, remote = self._git, state.commit, state.remote
        assert commit is not None
        if remote is None or not git.ask("for-each-ref", "--count=1", f"refs/remotes/{remote.name}/"):
            return None
        beyond = git.ask("rev-list", "--boundary", "HEAD", "--not", f"--remotes={remote.name}")
        if beyond is None:
            return Upstream(commit, self._upstream_name() or remote.name)
        name = self._upstream_name()
        base = None if name is None else git.ask("merge-base", "HEAD", "@{upstream}")
        boundary = (line[1:] for line in beyond.split("\n") if line.startswith("-"))
        base = base or next(boundary, None)
        return None if base is None else Upstream(base, name or remote.name)

    def _upstream_name(self) -> str | None:
        """Return the branch that this one follows, such as ``origin/main``, if that is known here."""
        name = self._git.ask("rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}")
        known = name is not None and self._git.says_yes(
            "rev-parse", "--verify", "--quiet", "@{upstream}^{commit}"
        )
        return name if known else None

    # -- patches and commits

    def _with_patches(self, state: CodeState) -> CodeState:
        git, missing = self._git, []
        head = state.commit or git.text("hash-object", "-t", "tree", os.devnull)
        unmerged = sorted({line.split("\t", 1)[1] for line in git.list("ls-files", "--unmerged", "-z")})
        tree = index_of_work_tree(git, self._scratch / "index", unmerged) if unmerged else git
        secret = self._secret_changes(tree, head)
        parts: dict[str, Part | None] = {}
        wanted = {"diff": (tree, _DIFF, (head,)), "staged": (git, _STAGED, ("--cached", head))}
        if state.upstream is not None and state.upstream.commit != state.commit:
            base = state.upstream.commit
            wanted["upstream_diff"] = (tree, f"upstream_diff_{base}.patch", (base,))
        for kind, (source, name, compared) in wanted.items():
            size = write_patch(
                source,
                self._scratch / "part",
                *compared,
                without=[*secret, *(unmerged if kind == "staged" else ())],
                limit=self._rules.limit,
            )
            if size:
                parts[kind] = self._keeper.take(self._scratch / "part", name)
            elif size is None:
                missing.append(kind)
                self._keeper.leave_out(
                    name, f"it would have more than {self._rules.limit:,} bytes (code_limit)"
                )
        if state.commit is not None and not self._is_published(state):
            parts["commits"] = self._commits(state)
            missing += ["commits"] if parts["commits"] is None else []
        return replace(
            state,
            diff=parts.get("diff"),
            staged=parts.get("staged"),
            upstream_diff=parts.get("upstream_diff"),
            commits=parts.get("commits"),
            intent_to_add=self._intent_to_add(secret, unmerged),
            missing=tuple(missing),
        )

    def _is_published(self, state: CodeState) -> bool:
        """Tell whether the remote was known to have the commit."""
        return state.upstream is not None and state.upstream.commit == state.commit

    def _commits(self, state: CodeState) -> Part | None:
        """Bundle the commits that the remote is not known to have."""
        known = []
        if state.remote is not None and state.upstream is not None:
            known = [f"--remotes={state.remote.name}"]
        elif self._is_shallow():
            self._keeper.leave_out(
                _BUNDLE, "the history is cut (a shallow clone) and the remote lacks this commit"
            )
            return None
        target = self._scratch / "part"
        if write_bundle(self._git, target, known, limit=self._rules.limit) is None:
            self._keeper.leave_out(
                _BUNDLE,
                f"the commits that the remote lacks would have more than {self._rules.limit:,} bytes (code_limit): "
                "without a push nobody else can have them",
            )
            return None
        return self._keeper.take(target, _BUNDLE)

    def _secret_changes(self, tree: Git, head: str) -> list[str]:
        changed = {*changed_paths(tree, head), *changed_paths(self._git, "--cached", head)}
        found = sorted(path for path in changed if looks_secret(path))
        for path in found:
            self._keeper.leave_out(path, "its name looks like that of a secret; its changes are not kept")
        return found

    def _intent_to_add(self, *without: list[str]) -> tuple[str, ...]:
        paths = set(changed_paths(self._git, kinds="A")).difference(*without)
        return tuple(sorted(path for path in paths if _is_tree_path(path)))

    # -- what git does not follow

    def _submodules(self) -> tuple[Submodule, ...]:
        found = []
        for line in self._git.list("ls-files", "--stage", "-z"):
            mode, commit, stage_path = line.split(" ", 2)
            path = stage_path.split("\t", 1)[1]
            if mode == "160000" and _is_tree_path(path):
                found.append(Submodule(path, commit, self._is_changed_inside(path)))
        for module in found:
            if module.changed:
                self._keeper.leave_out(
                    module.path, "a submodule: only its commit is kept, not its own changes"
                )
        return tuple(found)

    def _is_changed_inside(self, path: str) -> bool:
        folder = self._top / path
        if not (folder / ".git").exists():
            return False
        with contextlib.suppress(GitError):
            return self._git.at(folder).ask("status", "--porcelain") is not None
        return False

    def _untracked(self) -> tuple[Untracked, ...]:
        found = []
        for path in self._git.list("ls-files", "--others", "--exclude-standard", "-z")[:_MAX_LISTED]:
            place = self._top / path
            if path.endswith("/"):
                self._keeper.leave_out(path, "a git repository of its own")
            elif not self._is_of_runs(place) and self._rules.ignored.matching(path) is None:
                with contextlib.suppress(OSError):  # gone in the meantime
                    found.append((place.lstat().st_size, path))
        kept: list[Untracked] = []
        left = self._rules.untracked_limit
        for size, path in sorted(found):
            if size <= self._rules.file_limit and (size > left or len(kept) >= _MAX_UNTRACKED):
                self._keeper.leave_out(path, "the untracked files before it have used up what is kept in all")
                continue
            file = self._keeper.keep_file(
                self._top / path, path, "code/untracked", limit=self._rules.file_limit
            )
            if file is not None:
                kept.append(file)
                left -= 0 if file.part is None else file.part.size
        return tuple(sorted(kept, key=lambda file: file.path))

    def _is_of_runs(self, place: Path) -> bool:
        return self._rules.run_root is not None and place.is_relative_to(self._rules.run_root)


def _is_tree_path(path: str) -> bool:
    try:
        check_tree_path(path)
    except MalformedContentError:
        return False
    return True
