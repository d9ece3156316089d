"""What a restore refuses, and that everything is then as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.checkout import places
from holdfast.code.state import Remote, Untracked, Upstream
from holdfast.errors import (
    CommitNotFoundError,
    ConflictError,
    DirtyTreeError,
    GitError,
    HoldfastError,
    MalformedContentError,
    TargetExistsError,
    UsageError,
)
from tests.unit.code.repositories import (
    Run,
    commit_all,
    contents,
    everything,
    git,
    head,
    make_repository,
    status,
    write,
)


@pytest.fixture
def run(tmp_path, origin):
    write(origin, {"train.py": b"print(2)\n", "new.py": b"new\n", "notes/a.txt": b"a\n"})
    return Run(tmp_path / "run", origin)


def assert_refused(repository, error, attempt, match=None):
    before = everything(repository)
    with pytest.raises(error, match=match) as info:
        attempt()
    assert everything(repository) == before
    return info.value


def test_a_dirty_tree_is_not_touched(clone, run):
    write(clone, {"sub/model.py": b"mine\n"})

    assert_refused(clone, DirtyTreeError, lambda: run.restore(clone), "sub/model.py")


def test_a_dirty_tree_is_put_aside_when_told(clone, run, origin):
    write(clone, {"sub/model.py": b"mine\n", "train.py": b"mine too\n"})
    git(clone, "add", "train.py")

    run.restore(clone, stash=True)

    assert contents(clone) == contents(origin)
    git(clone, "checkout", "-qf", "main")
    git(clone, "clean", "-qfd")
    git(clone, "stash", "pop", "-q", "--index")
    assert (clone / "sub/model.py").read_bytes() == b"mine\n"
    assert status(clone) == [b"", b" M sub/model.py", b"M  train.py"]


def test_a_failure_after_putting_aside_brings_the_changes_back(clone, run, monkeypatch):
    write(clone, {"sub/model.py": b"mine\n", "train.py": b"mine too\n"})
    git(clone, "add", "train.py")
    (run.files / "code/untracked/new.py").chmod(0)
    (run.files / "code/untracked/notes/a.txt").unlink()
    (run.files / "code/untracked/notes/a.txt").mkdir()

    assert_refused(clone, (HoldfastError, OSError), lambda: run.restore(clone, stash=True))


def test_a_tree_in_the_middle_of_a_merge_is_not_touched(clone, run):
    git(clone, "checkout", "-q", "-b", "side")
    write(clone, {"other.py": b"1\n"})
    commit_all(clone)
    git(clone, "checkout", "-q", "main")
    git(clone, "merge", "-q", "--no-ff", "--no-commit", "side")

    assert_refused(clone, DirtyTreeError, lambda: run.restore(clone, stash=True), "under way")


@pytest.mark.parametrize("name", ["new.py", "notes"])
def test_an_untracked_file_in_the_way_is_not_touched(clone, run, name):
    write(clone, {name: b"mine\n"})

    assert_refused(clone, TargetExistsError, lambda: run.restore(clone), name)


def test_an_ignored_file_where_git_would_make_one_is_not_touched(tmp_path, origin, clone):
    write(origin, {"data.bin": b"theirs"})
    git(origin, "add", "data.bin")
    run = Run(tmp_path / "run", origin)
    write(clone, {".git/info/exclude": b"data.bin\n", "data.bin": b"mine"})

    assert_refused(clone, TargetExistsError, lambda: run.restore(clone), "data.bin")


def test_untracked_files_that_are_there_already_stay(clone, run, origin):
    write(clone, {"new.py": b"new\n"})

    run.restore(clone)

    assert contents(clone) == contents(origin)


def test_restoring_twice_needs_another_branch(clone, run, origin):
    run.restore(clone)
    git(clone, "checkout", "-qf", "main")

    error = assert_refused(clone, ConflictError, lambda: run.restore(clone), "holdfast/r1")
    run.restore(clone, branch="again")

    assert "--branch" in error.hint
    assert contents(clone) == contents(origin)
    assert git(clone, "branch", "--show-current") == b"again\n"


@pytest.mark.parametrize("branch", ["a..b", "-f", "x.lock", "", "main/sub", "a b"])
def test_a_branch_that_cannot_be_is_refused(clone, run, branch):
    assert_refused(clone, (UsageError, ConflictError), lambda: run.restore(clone, branch=branch))


def test_outside_of_a_repository_the_user_is_told_of_into(tmp_path, run):
    with pytest.raises(UsageError, match="not in a git repository") as info:
        run.restore(tmp_path)

    assert "--into" in info.value.hint


def test_another_repository_is_refused(tmp_path, run):
    other = make_repository(tmp_path / "other", {"x.py": b"x\n"})

    assert_refused(other, UsageError, lambda: run.restore(other), "not the repository")


def test_a_folder_that_is_not_empty_is_refused(tmp_path, run):
    write(tmp_path / "full", {"a": b"a"})

    with pytest.raises(TargetExistsError, match="not empty"):
        run.restore(tmp_path, into=tmp_path / "full")


def test_a_remote_that_is_gone_is_named_and_leaves_nothing(tmp_path, run, origin):
    (tmp_path / "remote.git").rename(tmp_path / "elsewhere.git")
    (tmp_path / "empty").mkdir()
    (tmp_path / "outside").mkdir()

    with pytest.raises(GitError, match=r"remote\.git"):
        run.restore(tmp_path / "outside", into=tmp_path / "empty")

    assert list((tmp_path / "empty").iterdir()) == []
    assert not list(tmp_path.glob("*part*"))


def test_a_commit_that_nobody_has_is_named_with_what_was_tried(tmp_path, origin, clone):
    write(origin, {"train.py": b"unpushed\n"})
    commit = commit_all(origin)
    run = Run(tmp_path / "run", origin, limit=10)

    error = assert_refused(clone, CommitNotFoundError, lambda: run.restore(clone), commit)

    assert "code_limit" in str(error)
    assert run.state.missing == ("upstream_diff", "commits")


def test_without_the_bundle_the_upstream_patch_gives_the_same_files(tmp_path, origin, clone):
    upstream = head(origin)
    write(origin, {"train.py": b"unpushed\n", "more.py": b"1\n"})
    commit_all(origin)
    write(origin, {"train.py": b"changed\n", "new.py": b"new\n"})
    run = Run(tmp_path / "run", origin)
    (run.files / "code/commits.bundle").unlink()

    result = run.restore(clone)

    assert contents(clone) == contents(origin)
    assert head(clone) == result.commit == upstream
    assert f"upstream_diff_{upstream}.patch" in run.names()
    assert "ancestor" in result.notes[0]


def test_a_part_that_is_gone_is_named_and_the_rest_restored(clone, run):
    (run.files / "diff.patch").unlink()
    (run.files / "code/untracked/new.py").unlink()

    result = run.restore(clone)

    assert len(result.missing) == 2
    assert "diff.patch" in result.missing[0]
    assert (clone / "notes/a.txt").exists()


# ---------------------------------------------------------------- hostile runs


def patched(run, text):
    (run.files / "diff.patch").write_bytes(text.encode())
    return run


def new_file(path, content="evil"):
    return f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{content}\n"


def new_link(path, target):
    return (
        f"diff --git a/{path} b/{path}\nnew file mode 120000\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{target}\n"
        "\\ No newline at end of file\n"
    )


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/tmp/evil",
        ".git/hooks/evil",
        "sub/../../evil",
        ".GIT/config",
        "git~1/config",
        "x/.git/config",
    ],
)
def test_a_patch_cannot_write_outside_of_the_work_tree_or_into_git(tmp_path, clone, run, path):
    outside = set(tmp_path.iterdir())

    assert_refused(clone, HoldfastError, lambda: patched(run, new_file(path)).restore(clone))

    assert set(tmp_path.iterdir()) == outside


def test_a_patch_cannot_write_through_a_link_that_it_makes(tmp_path, clone, run):
    (tmp_path / "outside").mkdir()
    evil = new_link("d", tmp_path / "outside") + new_file("d/evil")

    assert_refused(clone, HoldfastError, lambda: patched(run, evil).restore(clone))

    assert list((tmp_path / "outside").iterdir()) == []


def test_an_untracked_file_cannot_be_written_through_a_link_of_a_patch(tmp_path, clone, run):
    (tmp_path / "outside").mkdir()
    patched(run, new_link("d", tmp_path / "outside"))
    evil = replace(run.state.untracked[0], path="d/evil")

    assert_refused(
        clone, HoldfastError, lambda: run.restore(clone, state=replace(run.state, untracked=(evil,)))
    )

    assert list((tmp_path / "outside").iterdir()) == []


def test_an_untracked_file_cannot_be_written_through_an_untracked_link(tmp_path, clone, run):
    (tmp_path / "outside").mkdir()
    link = Untracked("d", link=str(tmp_path / "outside"))
    evil = replace(run.state.untracked[0], path="d/evil")

    assert_refused(
        clone, HoldfastError, lambda: run.restore(clone, state=replace(run.state, untracked=(link, evil)))
    )

    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "path", ["../evil", "/tmp/evil", ".git/hooks/post-checkout", ".Git/x", "a//b", ".", "a/.git "]
)
def test_an_untracked_file_cannot_have_a_path_that_leads_out(clone, run, path):
    state = replace(run.state, untracked=(replace(run.state.untracked[0], path=path),))

    with pytest.raises(MalformedContentError):
        type(state).parse(state.encode())
    assert_refused(clone, HoldfastError, lambda: run.restore(clone, state=state))


@pytest.mark.parametrize(
    "url", ["ext::sh -c 'touch /tmp/evil'", "--upload-pack=touch /tmp/evil", "-x", "ssh://-oProxyCommand=x/y"]
)
def test_a_remote_that_would_run_a_program_is_refused(tmp_path, clone, run, url):
    commit = "1" * 40
    state = replace(run.state, commit=commit, remote=Remote("origin", url), upstream=Upstream(commit, "x"))
    (tmp_path / "outside").mkdir()

    with pytest.raises(HoldfastError, match="no URL"):
        run.restore(tmp_path / "outside", state=state, into=tmp_path / "new")
    assert_refused(clone, CommitNotFoundError, lambda: run.restore(clone, state=state), "no URL")


@pytest.mark.parametrize(
    "url", ["https://h/x.git", "ssh://git@h:2/x", "git@h:o/x.git", "h:x", "file:///x", "/x/y", "git://h/x"]
)
def test_every_usual_remote_is_fetched_from(url):
    assert places.check_url(url) == url
