"""What an argument of `save` means: which files, under which names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.errors import CloudUrlError, InvalidNameError, UsageError
from holdfast.patterns import Pattern
from holdfast.training.rules import Places, select

FILES = """
    work/model.h5 work/a/1.txt work/a/b/2.txt work/a/b/c/3.txt work/a/.hidden work/a/b/.env
    work/.dot work/we[i]rd/x/f.txt work/wei/decoy.txt work/ck[1].pt work/ck1.pt
    work/holdfast/settings work/holdfast/run-20200101_000000-old/files/old.pt
    run/files/in.pt run/files/sub/deep.pt run/files/config.yaml
    logs/a-ckpt-1 logs/ckpt/2 elsewhere/data/ck/m.pt elsewhere/data/ck/n.pt elsewhere/top.txt home/notes.txt
"""
RUN_DIR = "work/holdfast/run-20200202_000000-new/files"


@pytest.fixture
def places(tmp_path, monkeypatch):
    for name in FILES.split():
        path = tmp_path / name.replace("run/files", RUN_DIR)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Places(str(tmp_path / "work"), str(tmp_path / RUN_DIR), str(tmp_path / "work/holdfast"))


def meant(argument, places, **named):
    """What is meant, as ``{name: path below the test's folder}``, RUN standing for run.dir."""
    argument = argument.replace("RUN", places.run_dir).replace("TOP", str(Path(places.cwd).parent))
    if "base_path" in named:
        named["base_path"] = named["base_path"].replace("RUN", places.run_dir)
        named["base_path"] = named["base_path"].replace("TOP", str(Path(places.cwd).parent))
    selection = select(argument, places, **named)
    top = str(Path(places.cwd).parent) + "/"
    return {m.name: m.path.replace(places.run_dir, "RUN").removeprefix(top) for m in selection.matches}


@pytest.mark.parametrize(
    ("argument", "base_path", "expected"),
    [
        ("model.h5", None, {"model.h5": "work/model.h5"}),
        ("./model.h5", None, {"model.h5": "work/model.h5"}),
        ("a/../model.h5", None, {"model.h5": "work/model.h5"}),
        ("a/b/2.txt", None, {"a/b/2.txt": "work/a/b/2.txt"}),
        ("a/*", None, {"a/1.txt", "a/b/2.txt", "a/b/c/3.txt", "a/b/.env"}),
        ("a/*.txt", None, {"a/1.txt"}),
        ("a/**/*.txt", None, {"a/1.txt", "a/b/2.txt", "a/b/c/3.txt"}),
        ("a/**", None, {"a/1.txt", "a/b/2.txt", "a/b/c/3.txt"}),
        ("a/.*", None, {"a/.hidden"}),
        ("a/?.txt", None, {"a/1.txt"}),
        ("a", None, {"a/1.txt", "a/b/2.txt", "a/b/c/3.txt", "a/.hidden", "a/b/.env"}),
        ("a/b/", None, {"a/b/2.txt", "a/b/c/3.txt", "a/b/.env"}),
        (".dot", None, {".dot"}),
        ("ck[1].pt", None, {"ck[1].pt": "work/ck[1].pt"}),
        ("ck[12].pt", None, {"ck1.pt": "work/ck1.pt"}),
        ("we[i]rd/x/*", None, {"we[i]rd/x/f.txt": "work/we[i]rd/x/f.txt"}),
        ("we[i]/*", None, {"wei/decoy.txt"}),
        ("../logs/*ckpt*", None, {"logs/a-ckpt-1": "logs/a-ckpt-1", "logs/ckpt/2": "logs/ckpt/2"}),
        ("../logs/a-ckpt-1", None, {"logs/a-ckpt-1"}),
        ("TOP/elsewhere/data/ck/m.pt", None, {"ck/m.pt": "elsewhere/data/ck/m.pt"}),
        ("TOP/elsewhere/data/ck/*.pt", None, {"ck/m.pt", "ck/n.pt"}),
        ("TOP/elsewhere/data/ck", None, {"ck/m.pt", "ck/n.pt"}),
        ("TOP/elsewhere/*/ck/m.pt", None, {"data/ck/m.pt"}),
        ("TOP/elsewhere/**/m.pt", None, {"data/ck/m.pt"}),
        ("TOP/work/a/1.txt", None, {"a/1.txt": "work/a/1.txt"}),
        ("TOP/work/a/*.txt", None, {"a/1.txt": "work/a/1.txt"}),
        ("TOP/work/../work/a/1.txt", None, {"a/1.txt"}),
        ("RUN/in.pt", None, {"in.pt": "RUN/in.pt"}),
        ("RUN/*.pt", None, {"in.pt": "RUN/in.pt"}),
        ("RUN/sub", None, {"sub/deep.pt": "RUN/sub/deep.pt"}),
        ("RUN", None, {"in.pt", "sub/deep.pt"}),
        ("RUN/sub/deep.pt", "RUN/sub", {"deep.pt"}),
        ("*.pt", None, {"ck[1].pt", "ck1.pt", "in.pt"}),
        ("**/*.pt", None, {"ck[1].pt", "ck1.pt", "in.pt", "sub/deep.pt"}),
        ("./a/b/*", "./a", {"b/2.txt", "b/c/3.txt"}),
        ("a/b/*", "TOP/work/a", {"b/2.txt", "b/c/3.txt"}),
        ("a/b/2.txt", "a/b", {"2.txt"}),
        ("a/b", "a/b", {"2.txt", "c/3.txt", ".env"}),
        ("TOP/elsewhere/top.txt", "TOP", {"elsewhere/top.txt"}),
        ("~/notes.txt", None, {"home/notes.txt": "home/notes.txt"}),
        ("{a,b}.txt", None, {}),
        ("TOP/work/holdfast/run-20200101_000000-old/files/*", None, None),
    ],
)  # fmt: skip
def test_an_argument_means_these_files_under_these_names(places, argument, base_path, expected):
    found = meant(argument, places, **({"base_path": base_path} if base_path else {}))

    if expected is None:
        assert list(found.values()) == ["work/holdfast/run-20200101_000000-old/files/old.pt"]
    elif isinstance(expected, dict):
        assert found == expected
    else:
        assert set(found) == expected


def test_the_working_directory_as_a_whole_leaves_out_run_directories_and_settings(places):
    found = meant(".", places)

    assert "model.h5" in found
    assert "a/.hidden" in found
    assert not [path for path in found.values() if path.startswith(("work/holdfast", "RUN/config"))]


@pytest.mark.parametrize(
    ("argument", "watched", "matches", "does_not"),
    [
        ("*.pt", "*.pt", "later.pt", "sub/later.pt"),
        ("RUN/checkpoint*", "checkpoint*", "checkpoint-9", "x/checkpoint-9"),
        ("RUN/sub", "sub/**", "sub/x/y.pt", "other/y.pt"),
        ("RUN/later.h5", "later.h5", "later.h5", "x.h5"),
        ("later.h5", "later.h5", "later.h5", "x.h5"),
        ("we[i]rd/*.txt", "we[[]i]rd/*.txt", "we[i]rd/1.txt", "wei/1.txt"),
        ("a/**/*.txt", "a/**/*.txt", "a/x/y/1.txt", "1.txt"),
    ],
)
def test_a_pattern_that_later_files_of_the_run_directory_can_match_is_watched(
    places, argument, watched, matches, does_not
):
    found = select(argument.replace("RUN", places.run_dir), places).watched

    assert found == watched
    assert Pattern(found).matches(matches)
    assert not Pattern(found).matches(does_not)


@pytest.mark.parametrize("argument", ["model.h5", "../logs/*", "RUN/in.pt", "TOP/elsewhere/*"])
def test_what_no_later_file_of_the_run_directory_can_match_is_not_watched(places, argument):
    argument = argument.replace("RUN", places.run_dir).replace("TOP", str(Path(places.cwd).parent))

    assert select(argument, places).watched is None


URLS = [
    "gs://bucket/events.out.tfevents.1",
    "s3://b/k",
    "S3://b/k",
    "s3a://b/k",
    "az://c/b",
    "abfs://c@a/b",
    "abfss://c@a/b",
    "hdfs://n:8020/x",
    "https://host/file",
    "http://host/file",
    "sftp://h/x",
    "dbfs:/mnt/x",
    "gs://b/*.pt",
    "gs://b/ck[1].pt",
    "s3:///k",
    "gs://",
    "memory://x",
    "my-store+v2://x",
]


@pytest.mark.parametrize(
    "url", [*URLS, b"s3://b/k", Path("s3://b/k"), Path("gs://b/*.pt"), Path("abfss://c@a/b")]
)
def test_a_cloud_url_is_refused_with_a_remedy(places, url):
    with pytest.raises(CloudUrlError, match=r"is a cloud storage url, can't save file to run.*[Cc]opy"):
        select(url, places)


def test_the_url_that_a_path_object_has_collapsed_is_shown_as_it_was_meant(places):
    with pytest.raises(CloudUrlError, match=r"'gs://b/x\.pt'"):
        select(Path("gs://b/x.pt"), places)


@pytest.mark.parametrize(
    ("url", "path"), [("file:///data/a%20b.pt", "/data/a b.pt"), (Path("file:///data/x"), "/data/x")]
)
def test_a_file_url_is_refused_and_the_error_names_the_path_to_pass(places, url, path):
    with pytest.raises(CloudUrlError, match=f"Pass the path: '{path}'"):
        select(url, places)


def test_a_url_as_base_path_is_refused(places):
    with pytest.raises(CloudUrlError, match="'gs://b/ckpt' is a cloud storage url"):
        select("model.h5", places, base_path=Path("gs://b/ckpt"))


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("a/s3://b/k", "a/s3:/b/k"),
        ("./gs://b/k", "gs:/b/k"),
        ("gs://b/k", "gs:/b/k"),
        ("gs://b/*", "gs:/b/k"),
        (Path("gs://b/k"), "gs:/b/k"),
        ("c:/x.txt", "c:/x.txt"),
        ("c:x.txt", "c:x.txt"),
        ("12:30 log.txt", "12:30 log.txt"),
    ],
)
def test_a_local_path_that_looks_like_a_url_is_saved_if_it_exists(places, argument, name):
    path = Path(places.cwd, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("here")

    assert [match.name for match in select(argument, places).matches] == [name]


@pytest.mark.parametrize("argument", ["c:/none", "a/s3://none", "./gs://none", "none:x"])
def test_a_path_with_a_colon_that_does_not_exist_is_no_url(places, argument):
    assert select(argument, places).matches == []


@pytest.mark.parametrize("bad", [None, 3, ["a"], 1.5])
def test_what_is_no_path_is_a_type_error_that_names_it(places, bad):
    with pytest.raises(TypeError, match="save\\(\\) takes a path"):
        select(bad, places)


def test_an_empty_path_is_refused(places):
    with pytest.raises(UsageError, match="empty"):
        select("", places)


@pytest.mark.parametrize("argument", ["model.h5", "../logs/ckpt/2", "a2/x"])
def test_a_path_outside_base_path_is_refused_even_if_its_name_begins_alike(places, argument):
    with pytest.raises(UsageError, match="outside of base_path"):
        select(argument, places, base_path="a")


def test_bytes_and_path_objects_mean_what_their_text_means(places):
    assert select(b"model.h5", places).matches == select(Path("model.h5"), places).matches


def test_with_literal_a_pattern_is_just_a_name(places):
    assert select("*.pt", places, literal=True).matches == []


def test_no_match_tells_where_it_was_looked_for(places):
    assert select("nothing*", places).looked_for == [f"{places.cwd}/nothing*", f"{places.run_dir}/nothing*"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "日本 語 'q' \"d\" #%&;$.pt", "a[0]*?.pt", "~weird"])
def test_any_printable_name_can_be_saved_literally(places, name):
    Path(places.cwd, name).write_text("x")

    assert [match.name for match in select(f"./{name}", places).matches] == [name]


def test_a_name_with_a_control_character_is_refused_alone_and_left_out_of_a_glob(places):
    Path(places.cwd, "a", "bad\nname.txt").write_text("x")

    with pytest.raises(InvalidNameError, match="control character"):
        select("a/bad\nname.txt", places)
    selection = select("a/*.txt", places)
    assert [match.name for match in selection.matches] == ["a/1.txt"]
    assert "control character" in selection.left_out[0]


def test_a_dangling_link_and_a_pipe_are_left_out_with_the_reason(places):
    Path(places.cwd, "dangling").symlink_to("/nowhere/at/all")
    os.mkfifo(Path(places.cwd, "pipe"))

    assert "link to '/nowhere/at/all', which does not exist" in select("dangling", places).left_out[0]
    assert "not a regular file" in select("pip*", places).left_out[0]


def test_links_to_folders_are_followed_and_loops_end(places):
    Path(places.cwd, "a", "latest").symlink_to("b")
    Path(places.cwd, "a", "b", "up").symlink_to("..")

    assert {"a/latest/2.txt", "a/b/2.txt"} <= set(meant("a", places))


def test_a_link_of_our_own_making_means_its_source(places):
    source = str(Path(places.cwd, "model.h5"))
    Path(places.run_dir, "model.h5").symlink_to(source)
    known = Places(places.cwd, places.run_dir, places.run_root, {"model.h5": source})

    assert [match.path for match in select(f"{places.run_dir}/*.h5", known).matches] == [source]


def test_the_users_own_link_in_the_run_directory_stays_a_path_of_its_own(places):
    link = Path(places.run_dir, "latest.pt")
    link.symlink_to("in.pt")

    assert [match.path for match in select(str(link), places).matches] == [str(link)]


def test_a_path_through_a_link_to_the_working_directory_or_run_dir_has_the_same_name(places):
    alias = Path(places.cwd).parent / "alias"
    alias.symlink_to(places.cwd)

    assert [m.name for m in select(f"{alias}/a/1.txt", places).matches] == ["a/1.txt"]
    inside = str(alias) + places.run_dir[len(places.cwd) :]
    assert [m.name for m in select(f"{inside}/in*", places).matches] == ["in.pt"]
