"""What is captured of the code of a run, and what is not."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from holdfast.code.git import Git
from holdfast.code.remotes import same_place, without_secrets
from holdfast.code.secrets import looks_secret
from holdfast.code.state import CodeState
from holdfast.errors import GitError, MalformedContentError
from holdfast.patterns import IgnoreRules
from tests.unit.code.repositories import Run, commit_all, git, head, write


def reasons(run):
    return {item.path: item.reason for item in run.state.left_out}


def test_a_clean_tree_needs_no_more_than_its_commit(tmp_path, origin):
    run = Run(tmp_path / "run", origin)

    assert run.names() == []
    assert run.state.commit == run.state.upstream.commit == head(origin)
    assert (run.state.branch, run.state.upstream.ref) == ("main", "origin/main")
    assert run.state.remote.url == str(tmp_path / "remote.git")
    assert run.state.left_out == ()


def test_the_patches_have_the_names_of_the_guide(tmp_path, origin):
    upstream = head(origin)
    write(origin, {"more.py": b"1\n"})
    commit_all(origin)
    write(origin, {"train.py": b"print(2)\n"})

    run = Run(tmp_path / "run", origin)

    assert run.names() == ["code/commits.bundle", "diff.patch", f"upstream_diff_{upstream}.patch"]
    assert b"+print(2)" in (run.files / "diff.patch").read_bytes()
    assert b"more.py" in (run.files / f"upstream_diff_{upstream}.patch").read_bytes()


def test_without_save_code_only_commit_branch_and_remote_are_noted(tmp_path, origin):
    write(origin, {"train.py": b"print(2)\n", "new.py": b"1\n"})

    run = Run(tmp_path / "run", origin, save_code=False)

    assert run.names() == []
    assert run.state.commit == head(origin)


def test_without_git_only_the_program_file_is_taken(tmp_path, origin):
    run = Run(tmp_path / "run", origin, disable_git=True, program=origin / "train.py")

    assert run.names() == ["code/program/train.py"]
    assert not run.state.git


def test_outside_of_a_repository_the_program_file_is_taken(tmp_path):
    write(tmp_path / "plain", {"sub/train.py": b"print(1)\n"})

    run = Run(tmp_path / "run", tmp_path / "plain", program=Path("sub/train.py"))

    assert run.names() == ["code/program/sub/train.py"]
    assert run.state.left_out == ()


def test_a_program_that_git_ignores_is_taken_and_one_that_git_has_is_not(tmp_path, origin):
    write(origin, {".gitignore": b"scratch.py\n", "scratch.py": b"1\n"})

    ignored = Run(tmp_path / "run1", origin, program=origin / "scratch.py")
    tracked = Run(tmp_path / "run2", origin, program=origin / "train.py")

    assert ignored.state.program.path == "scratch.py"
    assert tracked.state.program is None


def test_without_git_on_the_machine_it_is_said_and_nothing_else_fails(tmp_path, origin, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    run = Run(tmp_path / "run", origin, program=origin / "train.py")

    assert run.names() == ["code/program/train.py"]
    assert "not installed" in reasons(run)[""]


def test_a_bare_repository_and_the_inside_of_git_are_no_work_tree(tmp_path, origin):
    bare = Run(tmp_path / "run1", tmp_path / "remote.git")
    inside = Run(tmp_path / "run2", origin / ".git")

    assert "without a work tree" in reasons(bare)[""]
    assert "without a work tree" in reasons(inside)[""]


def test_a_repository_that_git_does_not_trust_is_named_with_gits_own_remedy(tmp_path, origin, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    run = Run(tmp_path / "run", origin)

    assert "safe.directory" in reasons(run)[""]
    assert not run.state.git


def test_secrets_among_the_files_are_left_out_and_listed(tmp_path, origin):
    secrets = [
        ".env",
        "conf/.env.production",
        "server.pem",
        "id_rsa",
        ".netrc",
        "my-credentials.json",
        "tls/a.key",
    ]
    write(origin, dict.fromkeys(secrets, b"hunter2-secret"))
    write(origin, {"staged.pem": b"hunter2-secret", "settings.py": b"fine\n"})
    git(origin, "add", "staged.pem")

    run = Run(tmp_path / "run", origin)

    assert sorted(reasons(run)) == sorted([*secrets, "staged.pem"])
    assert run.names() == ["code/untracked/settings.py"]
    for path in run.files.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.json",
        ".env.example",
        "key.py",
        "keys/model.py",
        "environment.yml",
        "secretary.txt",
        "token_stats.csv",
    ],
)
def test_ordinary_files_do_not_look_like_secrets(name):
    assert not looks_secret(name)


@pytest.mark.parametrize(
    "name", [".ssh/config", "a/.aws/credentials", "ID_RSA", "Server.PEM", "secrets.py", "prod.env"]
)
def test_secrets_are_known_in_any_folder_and_case(name):
    assert looks_secret(name)


def test_untracked_files_are_taken_smallest_first_up_to_the_limits(tmp_path, origin):
    write(origin, {"big": b"x" * 2000, "a": b"x" * 400, "b": b"x" * 500, "c": b"x" * 600})

    run = Run(tmp_path / "run", origin, untracked_limit=1000, file_limit=1000)

    assert run.names() == ["code/untracked/a", "code/untracked/b"]
    assert sorted(reasons(run)) == ["big", "c"]


def test_what_git_ignores_the_globs_and_the_run_directories_are_no_code(tmp_path, origin):
    write(origin, {".gitignore": b"*.log\n", "x.log": b"1", "deep/x.tmp": b"1", "kept.py": b"1"})
    write(origin, {"holdfast/run-20200101_000000-a/files/model.pt": b"1"})
    write(origin / "nested", {"file": b"1"})
    git(origin / "nested", "init", "-q")

    run = Run(tmp_path / "run", origin, ignored=IgnoreRules(["*.tmp"]), run_root=origin / "holdfast")

    assert run.names() == ["code/untracked/.gitignore", "code/untracked/kept.py"]
    assert list(reasons(run)) == ["nested/"]


def test_what_is_no_regular_file_is_left_out(tmp_path, origin):
    os.mkfifo(origin / "pipe")

    assert Run(tmp_path / "run", origin).names() == []


def test_a_patch_beyond_the_limit_is_left_out_as_a_whole(tmp_path, origin):
    write(origin, {"train.py": os.urandom(5000).hex().encode()})
    git(origin, "add", "-A")

    run = Run(tmp_path / "run", origin, limit=5000)

    assert run.names() == []
    assert run.state.missing == ("diff", "staged")
    assert "5,000 bytes" in reasons(run)["diff.patch"]


def test_files_of_the_user_with_our_names_stay_and_ours_get_others(tmp_path, origin):
    write(origin, {"train.py": b"print(2)\n"})
    write(tmp_path / "run" / "mine", {"diff.patch": b"mine"})
    run = Run.__new__(Run)
    run.files = tmp_path / "run" / "mine"
    from holdfast.code.capture import capture_code
    from holdfast.code.rules import CodeRules

    state = capture_code(origin, run.files, scratch=tmp_path / "run" / "scratch", rules=CodeRules())

    assert (run.files / "diff.patch").read_bytes() == b"mine"
    assert b"+print(2)" in (run.files / state.diff.name).read_bytes()


def test_the_newest_ancestor_that_the_remote_has_is_the_base(tmp_path, origin):
    first = head(origin)
    git(origin, "checkout", "-q", "-b", "topic")
    write(origin, {"a.py": b"1\n"})
    pushed = commit_all(origin)
    git(origin, "push", "-q", "origin", "topic")
    write(origin, {"a.py": b"2\n"})
    commit_all(origin)
    git(origin, "checkout", "-q", "--detach")

    run = Run(tmp_path / "run", origin)

    assert first != run.state.upstream.commit == pushed


def test_a_state_from_elsewhere_is_checked():
    good = CodeState(git=True, commit="a" * 40).encode()

    assert CodeState.parse(good).commit == "a" * 40
    for bad in (
        b"",
        b"[]",
        b"{}",
        b"\xff",
        good.replace(b"holdfast-code/1", b"holdfast-code/2"),
        good.replace(b"aaaa", b"--up", 1),
    ):
        with pytest.raises(MalformedContentError):
            CodeState.parse(bad)


# ---------------------------------------------------------------- remotes


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://user:hunter2@host/o/r.git", "https://host/o/r.git"),
        ("https://ghp_hunter2@host/o/r.git", "https://host/o/r.git"),
        ("https://u:p@ss@host/r", "https://host/r"),
        ("https://host/r.git?access_token=hunter2", "https://host/r.git"),
        ("https://host/r.git#hunter2", "https://host/r.git"),
        ("ssh://git:hunter2@host:22/r.git", "ssh://git@host:22/r.git"),
        ("git@host:o/r.git", "git@host:o/r.git"),
        ("git:hunter2@host:o/r.git", "git@host:o/r.git"),
        ("/srv/a@b/r.git", "/srv/a@b/r.git"),
        ("https://host/o/a@b.git", "https://host/o/a@b.git"),
    ],
)
def test_a_remote_is_noted_without_secrets(url, plain):
    assert without_secrets(url) == plain


def test_credentials_of_a_remote_are_in_no_file_of_the_run(tmp_path, origin):
    git(origin, "remote", "set-url", "origin", "https://me:hunter2@example.invalid/o/r.git")

    run = Run(tmp_path / "run", origin)

    assert run.state.remote.url == "https://example.invalid/o/r.git"
    assert b"hunter2" not in (run.files / "code/state.json").read_bytes()


def test_the_same_remote_is_known_in_each_way_of_writing_it():
    assert same_place("https://Host/o/r.git", "git@host:o/r")
    assert same_place("ssh://git@host:22/o/r.git", "https://token@host/o/r/")
    assert not same_place("https://host/o/r", "https://host/o/s")


# ---------------------------------------------------------------- calling git


def test_a_git_that_hangs_is_ended_with_what_it_started(tmp_path, origin):
    write(origin, {".gitattributes": b"*.py filter=slow\n"})
    git(origin, "config", "filter.slow.clean", "sleep 30.125; cat")
    (origin / "train.py").write_bytes(b"changed\n")
    began = time.monotonic()

    with pytest.raises(GitError, match="ended after"):
        Git(origin, timeout_s=0.5).run("diff", "HEAD")

    assert time.monotonic() - began < 10
    assert (
        "30.125"
        not in subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout
    )


def test_a_damaged_index_costs_the_changes_and_not_the_commit(tmp_path, origin):
    (origin / ".git/index").write_bytes(b"garbage" * 10)

    run = Run(tmp_path / "run", origin)

    assert run.state.commit == head(origin)
    assert run.state.missing == ("diff",)
    assert "index" in reasons(run)["diff.patch"]
