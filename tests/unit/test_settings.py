"""Settings: precedence, bad values, and that the docs have each of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from holdfast.errors import SettingsError
from holdfast.settings import load_settings, setting_fields, write_user_setting

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_each_source_wins_over_those_below(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    (work / "holdfast").mkdir(parents=True)
    env = {"HOLDFAST_HOME": str(home), "HOLDFAST_DIR": str(work)}

    def project(**arguments):
        return load_settings(env, **arguments).project

    assert project() == "uncategorized"
    write_user_setting(home, "project", "from-user-file")
    assert project() == "from-user-file"
    (work / "holdfast" / "settings").write_text("[default]\nproject = from-local-file  # why not\n")
    assert project() == "from-local-file"
    env["HOLDFAST_PROJECT"] = "from-environment"
    assert project() == "from-environment"
    assert project(project="from-argument") == "from-argument"
    assert project(project=None) == "from-environment"


def test_a_bad_line_names_file_and_line_and_spoils_nothing_else(tmp_path, caplog):
    (tmp_path / "settings").write_text("nonsense\nproject = good\nquiet = soon\nno_such = 1\n")

    with caplog.at_level(logging.WARNING):
        settings = load_settings({"HOLDFAST_HOME": str(tmp_path)})

    assert settings.project == "good"
    assert settings.quiet == 1.0
    for number in (1, 3, 4):
        assert f"{tmp_path / 'settings'}:{number}" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"), [("HOLDFAST_MODE", "onlin"), ("HOLDFAST_QUIET", "x"), ("HOLDFAST_STRICT", "maybe")]
)
def test_a_bad_environment_variable_is_an_error_that_names_it(name, value):
    with pytest.raises(SettingsError, match=name):
        load_settings({name: value})


def test_an_unknown_argument_is_an_error():
    with pytest.raises(SettingsError, match="colour"):
        load_settings({}, colour="red")


def test_the_api_key_does_not_show_itself():
    settings = load_settings({"HOLDFAST_API_KEY": "hf_secret"})

    assert settings.api_key == "hf_secret"
    assert "hf_secret" not in repr(settings)


def test_tags_are_split_and_stripped():
    assert load_settings({"HOLDFAST_TAGS": "a, b ,,c"}).tags == ("a", "b", "c")


def test_writing_one_setting_leaves_the_others(tmp_path):
    write_user_setting(tmp_path, "base_url", "http://one")
    write_user_setting(tmp_path, "project", "mnist")
    write_user_setting(tmp_path, "base_url", "http://two")

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
