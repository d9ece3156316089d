"""Capture in one place, restore in another: the same status and the same bytes."""

from __future__ import annotations

import os

from tests.unit.code.repositories import (
    Run,
    commit_all,
    contents,
    git,
    head,
    make_repository,
    status,
    write,
)

BINARY = bytes(range(256)) * 20
ODD_NAMES = [
    "a b.txt",
    'quo"te.txt',
    "tab\there",
    "new\nline",
    "[x]*.txt",
    "-dash",
    "ü/ñ.txt",
    "back\\slash",
    "\udcff.bin",
]


def everything_at_once(repository):
    """Change a work tree in every way that git knows, with commits that are not pushed."""
    write(repository, {f"{name}.tracked": b"1\r\n2\n" for name in ODD_NAMES})
    write(
        repository,
        {
            name: b"line\n" * 30 + name.encode()
            for name in ("renamed", "deleted", "staged", "both", "uncached", "kind")
        },
    )
    write(
        repository,
        {"binary.bin": BINARY, "mode.sh": b"#!/bin/sh\n", "crlf.txt": b"a\r\nb\r\n", "noeol": b"x"},
    )
    (repository / "link").symlink_to("staged")
    commit_all(repository, "unpushed")
    for name in ODD_NAMES:
        write(
            repository,
            {f"{name}.tracked": b"1\r\n2\nthree", f"{name}.untracked": name.encode(errors="surrogateescape")},
        )
    write(
        repository,
        {"staged": b"staged\n", "both": b"first\n", "binary.bin": BINARY[::-1], "added.bin": BINARY},
    )
    git(repository, "add", "staged", "both", "added.bin")
    write(
        repository,
        {"both": b"second\n", "crlf.txt": b"a\r\nb\nc\r\n", "noeol": b"y", "later": b"", "marked": b"m\n"},
    )
    git(repository, "mv", "renamed", "renamed to")
    git(repository, "rm", "-q", "deleted")
    git(repository, "rm", "-q", "--cached", "uncached")
    git(repository, "add", "-N", "marked")
    (repository / "sub/model.py").unlink()
    (repository / "mode.sh").chmod(0o755)
    (repository / "link").unlink()
    (repository / "link").symlink_to("elsewhere/nowhere")
    (repository / "kind").unlink()
    (repository / "kind").symlink_to("/etc/hostname")
    (repository / "untracked link").symlink_to("../up")
    write(repository, {"run.sh": b"#!/bin/sh\n", "new/deep/file.py": b"pass\n"})
    (repository / "run.sh").chmod(0o755)


def assert_same(place, origin, run):
    assert contents(place) == contents(origin)
    assert status(place) == status(origin)
    assert head(place) == head(origin)
    assert git(place, "branch", "--show-current").decode().strip() == "holdfast/r1"
    assert git(place, "diff", "--cached", "--no-renames") == git(origin, "diff", "--cached", "--no-renames")
    assert git(place, "for-each-ref", "refs/holdfast") == b""


def test_every_kind_of_change_comes_back_in_a_clone(tmp_path, origin, clone):
    everything_at_once(origin)
    run = Run(tmp_path / "run", origin)

    result = run.restore(clone)

    assert_same(clone, origin, run)
    assert result.missing == []
    assert result.notes == []


def test_every_kind_of_change_comes_back_in_a_new_clone(tmp_path, origin):
    everything_at_once(origin)
    run = Run(tmp_path / "run", origin)
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()

    result = run.restore(nowhere, into=tmp_path / "x" / "new")

    assert_same(tmp_path / "x" / "new", origin, run)
    assert result.folder == tmp_path / "x" / "new"
    assert os.listdir(tmp_path / "x") == ["new"]


def test_every_kind_of_change_comes_back_in_a_new_work_tree(tmp_path, origin, clone):
    everything_at_once(origin)
    run = Run(tmp_path / "run", origin)
    (tmp_path / "new").mkdir()
    before = contents(clone), status(clone), head(clone)

    run.restore(clone / "sub", into=tmp_path / "new")

    assert_same(tmp_path / "new", origin, run)
    assert (contents(clone), status(clone), head(clone)) == before
    assert (tmp_path / "new" / ".git").is_file()


def test_capturing_changes_nothing_in_the_repository(tmp_path, origin):
    everything_at_once(origin)
    before = sorted(
        (path, path.stat().st_mtime_ns) for path in (origin / ".git").rglob("*") if path.is_file()
    )

    Run(tmp_path / "run", origin)

    assert (
        sorted((path, path.stat().st_mtime_ns) for path in (origin / ".git").rglob("*") if path.is_file())
        == before
    )


SETTINGS = """
diff.noprefix=true diff.mnemonicPrefix=true diff.external=/bin/false color.ui=always diff.renames=copies diff.context=0
diff.submodule=log diff.interHunkContext=9 diff.suppressBlankEmpty=true diff.wordRegex=. diff.algorithm=patience
diff.ignoreSubmodules=all diff.relative=true core.quotePath=false core.abbrev=4 core.pager=/bin/false apply.whitespace=fix
apply.ignoreWhitespace=change status.showUntrackedFiles=no core.hooksPath=/nonexistent diff.orderFile=/nonexistent
diff.colorMoved=zebra core.fsmonitor=/bin/false core.safecrlf=true log.showSignature=true
"""


def test_the_configuration_of_the_user_does_not_disturb(tmp_path, origin, clone, monkeypatch):
    everything_at_once(origin)
    (tmp_path / "config").write_text("")
    for setting in SETTINGS.split():
        git(tmp_path, "config", "--file", str(tmp_path / "config"), *setting.split("=", 1))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/bin/false")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")

    run = Run(tmp_path / "run", origin / "sub")
    run.restore(clone)

    for name in ("GIT_EXTERNAL_DIFF", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert run.state.cwd == "sub"
    assert_same(clone, origin, run)


def test_a_text_converter_and_a_driver_of_the_repository_do_not_disturb(tmp_path, origin, clone):
    write(origin, {".gitattributes": b"*.bin diff=hex\n*.py diff=own\n", "a.bin": BINARY})
    commit_all(origin)
    git(origin, "config", "diff.hex.textconv", "hexdump")
    git(origin, "config", "diff.own.command", "/bin/false")
    write(origin, {"a.bin": BINARY[::-1], "train.py": b"print(2)\n"})

    run = Run(tmp_path / "run", origin)
    run.restore(clone)

    assert_same(clone, origin, run)


def test_a_repository_without_remote_comes_back_from_the_run_alone(tmp_path):
    origin = make_repository(tmp_path / "origin")
    everything_at_once(origin)
    run = Run(tmp_path / "run", origin)
    (tmp_path / "nowhere").mkdir()

    run.restore(tmp_path / "nowhere", into=tmp_path / "new")

    assert_same(tmp_path / "new", origin, run)
    assert run.state.remote is None


def test_a_repository_without_commits_comes_back(tmp_path):
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    write(origin, {"a.py": b"1\n", "b.py": b"2\n"})
    git(origin, "add", "a.py")
    write(origin, {"a.py": b"1\n2\n"})
    run = Run(tmp_path / "run", origin)
    (tmp_path / "nowhere").mkdir()

    result = run.restore(tmp_path / "nowhere", into=tmp_path / "new")

    assert result.commit is None
    assert contents(tmp_path / "new") == contents(origin)
    assert status(tmp_path / "new") == status(origin)


def test_a_detached_head_in_a_linked_work_tree_comes_back(tmp_path, origin, clone):
    git(origin, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    write(tmp_path / "linked", {"train.py": b"print(3)\n", "new.py": b"new\n"})
    run = Run(tmp_path / "run", tmp_path / "linked")

    run.restore(clone)

    assert run.state.branch is None
    assert_same(clone, tmp_path / "linked", run)


def test_a_shallow_clone_comes_back(tmp_path, origin, clone):
    write(origin, {"more.py": b"1\n"})
    commit_all(origin)
    git(origin, "push", "-q")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{tmp_path / 'remote.git'}", "shallow")
    write(tmp_path / "shallow", {"more.py": b"2\n"})
    commit_all(tmp_path / "shallow", "unpushed")
    write(tmp_path / "shallow", {"more.py": b"3\n"})
    run = Run(tmp_path / "run", tmp_path / "shallow")

    run.restore(clone)

    assert_same(clone, tmp_path / "shallow", run)
    assert run.state.root_commits == ()


def test_conflicts_of_a_merge_come_back_as_the_text_they_were(tmp_path, origin, clone):
    git(origin, "checkout", "-q", "-b", "side")
    write(origin, {"train.py": b"side\n", "gone.py": b"1\n"})
    commit_all(origin)
    git(origin, "checkout", "-q", "main")
    write(origin, {"train.py": b"main\n", "staged.py": b"1\n"})
    commit_all(origin)
    git(origin, "merge", "-q", "side", code=1)
    write(origin, {"staged.py": b"2\n"})
    run = Run(tmp_path / "run", origin)

    result = run.restore(clone)

    assert contents(clone) == contents(origin)
    assert run.state.operation == "merge"
    assert result.notes == ["A merge was under way; it is not restored as such."]


def test_a_submodule_comes_back_with_its_commit(tmp_path, origin, clone):
    module = make_repository(tmp_path / "module", {"m.py": b"1\n"})
    git(origin, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(module), "mod")
    commit_all(origin)
    git(origin, "push", "-q")
    write(origin / "mod", {"m.py": b"2\n"})
    newer = commit_all(origin / "mod")
    write(origin / "mod", {"m.py": b"3\n"})
    run = Run(tmp_path / "run", origin)

    result = run.restore(clone)

    [module] = run.state.submodules
    assert (module.path, module.changed) == ("mod", True)
    assert b"+Subproject commit " + newer.encode() + b"\n" in (run.files / "diff.patch").read_bytes()
    assert any("submodule" in note for note in result.notes)


def test_a_link_that_moves_to_make_room_for_a_folder_comes_back(tmp_path, origin, clone):
    (origin / "a").symlink_to("nowhere")
    commit_all(origin)
    git(origin, "push", "-q")
    git(origin, "mv", "a", "b")
    write(origin, {"a/x": b"1\n"})
    git(origin, "add", "-A")
    run = Run(tmp_path / "run", origin)

    run.restore(clone)

    assert_same(clone, origin, run)


def test_a_second_capture_after_a_killed_one_gives_the_same(tmp_path, origin, clone):
    everything_at_once(origin)
    (tmp_path / "run" / "scratch" / "part").mkdir(parents=True)
    write(tmp_path / "run" / "files", {"code/untracked/run.sh": b"half"})
    (tmp_path / "run" / "files").rename(tmp_path / "old")

    run = Run(tmp_path / "run", origin)
    run.restore(clone)

    assert_same(clone, origin, run)
