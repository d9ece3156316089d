"""Settings: precedence, bad values, and that the docs have each of them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from holdfast.errors import SettingsError
from holdfast.settings import Settings, given_settings, load_settings, setting_fields
from holdfast.settings_file import write_setting

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_each_source_wins_over_those_below(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    (work / "holdfast").mkdir(parents=True)
    env = {"HOLDFAST_HOME": str(home), "HOLDFAST_DIR": str(work)}

    def project(**arguments):
        return load_settings(env, **arguments).project

    assert project() == "uncategorized"
    write_setting(home / "settings", "project", "from-user-file")
    assert project() == "from-user-file"
    (work / "holdfast" / "settings").write_text("[default]\nproject = from-local-file  # why not\n")
    assert project() == "from-local-file"
    env["HOLDFAST_PROJECT"] = "from-environment"
    assert project() == "from-environment"
    assert project(project="from-argument") == "from-argument"
    assert project(project=None) == "from-environment"


def in_force(folder, text, **arguments):
    """The settings with this text as the user's file."""
    (folder / "settings").write_bytes(text.encode("utf-8", "surrogateescape"))
    return load_settings({"HOLDFAST_HOME": str(folder)}, **arguments)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nonsense", "this is not `name = value`"),
        ("project: mnist", "this is not `name = value`"),
        ("notes = caf\udce9", "this is not `name = value`"),
        ("quiet = soon", "quiet has the value 'soon', which it cannot have: it takes a number of seconds"),
        ("quiet = nan", "it takes a number of seconds"),
        ("quiet = -1", "it takes a number of seconds"),
        ("strict = maybe", "it takes true or false"),
        ("mode = onlin", "it takes one of online, offline, disabled"),
        ("pin_copy_limit = 1e9", "it takes a whole number"),
        ("ignore_globs = *.tmp, !keep.tmp", "the glob '!keep.tmp'"),
        ("ignore_globs = /", "the glob '/'"),
        ("ignore_glob = *.tmp", "Did you mean 'ignore_globs'?"),
        ("zzz = 1", "docs/reference/settings.md"),
        ("home = /elsewhere", "cannot be set in a settings file"),
        ("[other]", r"only the section [default] is read, not [other]"),
    ],
)
def test_a_bad_line_names_file_and_line_and_spoils_nothing_else(tmp_path, caplog, line, told):
    with caplog.at_level(logging.WARNING):
        settings = in_force(tmp_path, f"# mine\njob_type = before\n{line}\n[default]\nproject = after\n")

    [record] = caplog.records
    assert record.getMessage().startswith(f"{tmp_path / 'settings'}:3: ")
    assert told in record.getMessage()
    assert (settings.job_type, settings.project) == ("before", "after")
    assert settings == load_settings(
        {"HOLDFAST_HOME": str(tmp_path / "none")}, job_type="before", project="after", home=settings.home
    )


def test_a_bad_line_does_not_tell_the_value_of_what_may_be_a_secret(tmp_path, caplog):
    in_force(tmp_path, "api_kye = hf_secret\n")

    assert "api_kye" in caplog.text
    assert "hf_secret" not in caplog.text


def test_a_settings_file_may_have_comments_sections_tabs_and_a_byte_order_mark(tmp_path, caplog):
    text = "\ufeff; by hand\r\n[DEFAULT]\r\nProject\t=\tmnist # why\r\n\r\nignore_globs = .#*, a#b ,,\r\nnotes =\r\n"

    settings = in_force(tmp_path, text + "[other]\nproject = not-this\n")

    assert (settings.project, settings.ignore_globs, settings.notes) == ("mnist", (".#*", "a#b"), None)
    assert [record.getMessage()[-40:] for record in caplog.records] == [
        "e section [default] is read, not [other]."[-40:]
    ]


def test_a_settings_file_that_cannot_be_read_is_told_of(tmp_path, caplog):
    (tmp_path / "settings").mkdir()

    assert load_settings({"HOLDFAST_HOME": str(tmp_path)}).project == "uncategorized"
    assert f"{tmp_path / 'settings'} cannot be read" in caplog.text


def test_each_setting_tells_where_it_comes_from(tmp_path):
    (tmp_path / "settings").write_text("\nproject = mnist\nquiet = 2\n")
    env = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_QUIET": "3", "HOLDFAST_NOTES": ""}

    sources = load_settings(env, mode="offline").sources

    assert sources["project"] == f"{tmp_path / 'settings'}:2"
    assert (sources["quiet"], sources["mode"]) == ("HOLDFAST_QUIET", "init")
    assert "notes" not in sources


def test_the_local_file_lies_below_the_folder_that_any_higher_source_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("here", "there"):
        (tmp_path / folder / "holdfast").mkdir(parents=True)
        (tmp_path / folder / "holdfast" / "settings").write_text(f"project = {folder}\n")
    (tmp_path / "settings").write_text(f"dir = {tmp_path / 'here'}\n")
    env = {"HOLDFAST_HOME": str(tmp_path)}

    assert load_settings(env).project == "here"
    assert load_settings({**env, "HOLDFAST_DIR": "there"}).project == "there"
    assert load_settings({**env, "HOLDFAST_DIR": "here"}, dir="there").project == "there"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ["1", "true", "TRUE", "t", "yes", "Y", "on"]),
        *((text, False) for text in ["0", "false", "F", "no", "n", "Off"]),
    ],
)
def test_booleans_have_many_spellings(text, value):
    assert load_settings({"HOLDFAST_STRICT": text}).strict is value


def test_a_variable_that_is_likely_a_slip_is_told_of_and_others_are_left_alone(caplog):
    load_settings({"HOLDFAST_IGNORE_GLOB": "*.tmp", "HOLDFAST_OF_ANOTHER_PROGRAM": "1", "HOLDFAST_mode": "x"})

    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "HOLDFAST_IGNORE_GLOB is not a setting. Did you mean HOLDFAST_IGNORE_GLOBS?"
    assert len(told) == 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ignore_globs": ["*.tmp", "a,b"]}, ("*.tmp", "a,b")),
        ({"ignore_globs": "*.tmp, b"}, ("*.tmp", "b")),
        ({"ignore_globs": []}, ()),
        ({"ignore_globs": None}, ("env",)),
        (Settings(ignore_globs=["*.tmp"]), ("*.tmp",)),
        (Settings(), ("env",)),
        (None, ("env",)),
    ],
)
def test_settings_of_init_may_be_a_dictionary_or_settings(settings, expected):
    found = load_settings({"HOLDFAST_IGNORE_GLOBS": "env"}, **given_settings(settings))

    assert found.ignore_globs == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"colour": "red"}, "There is no setting 'colour'"),
        ({"ignore_glob": "x"}, "Did you mean 'ignore_globs'?"),
        ({"run_name": "x"}, "Did you mean 'name'?"),
        ({"root_dir": "x"}, "Did you mean 'dir'?"),
        ({"sources": {}}, "There is no setting 'sources'"),
        ({"quiet": True}, "quiet has the value True"),
        ({"quiet": [1]}, "quiet has the value"),
        ({"ignore_globs": 3}, "ignore_globs has the value 3"),
        ({"ignore_globs": [3]}, "ignore_globs has the value"),
        ({"rank": 1.5}, "rank has the value 1.5"),
        ({"mode": ["online"]}, "mode has the value"),
        ({"strict": 2}, "strict has the value 2"),
        ({"dir": 3}, "dir has the value 3"),
    ],
)
def test_a_bad_argument_is_an_error_that_names_it_and_what_it_takes(arguments, told):
    with pytest.raises(SettingsError, match=re.escape(told)):
        load_settings({}, **arguments)


@pytest.mark.parametrize("settings", [3, "mode=offline", ["mode"]])
def test_settings_that_are_neither_a_dictionary_nor_settings_are_an_error(settings):
    with pytest.raises(SettingsError, match="takes a dictionary or a"):
        given_settings(settings)


@pytest.mark.parametrize(
    ("name", "value"), [("HOLDFAST_MODE", "onlin"), ("HOLDFAST_QUIET", "x"), ("HOLDFAST_STRICT", "maybe")]
)
def test_a_bad_environment_variable_is_an_error_that_names_it(name, value):
    with pytest.raises(SettingsError, match=name):
        load_settings({name: value})


def test_the_api_key_does_not_show_itself():
    settings = load_settings({"HOLDFAST_API_KEY": "hf_secret"})

    assert settings.api_key == "hf_secret"
    assert "hf_secret" not in repr(settings)


def test_tags_are_split_and_stripped():
    assert load_settings({"HOLDFAST_TAGS": "a, b ,,c"}).tags == ("a", "b", "c")


def test_writing_one_setting_leaves_the_others(tmp_path):
    write_setting(tmp_path / "settings", "base_url", "http://one")
    write_setting(tmp_path / "settings", "project", "mnist")
    write_setting(tmp_path / "settings", "base_url", "http://two")

    settings = load_settings({"HOLDFAST_HOME": str(tmp_path)})

    assert (settings.base_url, settings.project) == ("http://two", "mnist")


def test_the_docs_have_each_setting_in_order_with_its_variable_default_and_help():
    table = DOCS.read_text().split("| setting |")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]

    assert rows == [
        [f"`{name}`", f"`HOLDFAST_{name.upper()}`", shown_default(item), item.metadata["help"]]
        for name, item in setting_fields().items()
    ]


def shown_default(item):
    if item.metadata["shown"] is not None:
        return item.metadata["shown"]
    if item.default in (None, ()):
        return "none"
    return f"`{str(item.default).lower() if isinstance(item.default, bool) else item.default}`"


def test_the_variables_that_the_docs_name_for_those_of_wandb_exist():
    page = (DOCS.parents[1] / "coming-from-wandb.md").read_text()
    table = page.split("## Environment")[1].split("\n## ")[0]

    assert len(re.findall(r"`WANDB_\w+", table)) >= 28
    assert {name.lower() for name in re.findall(r"`HOLDFAST_(\w+)", table)} <= set(setting_fields())
