"""S20: ignore globs from each source, obeyed by `save`, in `run.dir` and by `holdfast sync`, with a real server."""

from __future__ import annotations

import json

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, Machine, all_files

OWN = {"history.jsonl", "config.yaml", "summary.json"}
SCRIPT = """
from pathlib import Path
import holdfast as wandb

run = wandb.init(project="ignoring", id="r", settings={settings})
for name in ("a.txt", "a.tmp", "diff.patch"):
    Path("out").mkdir(exist_ok=True)
    Path("out", name).write_text(name)
    Path(run.dir, "sub").mkdir(exist_ok=True)
    Path(run.dir, "sub", name).write_text(name)
saved = run.save("out/*")
assert [file.name for file in saved] == ["out/a.txt"], saved
assert set(saved.ignored) == {{"out/a.tmp", "out/diff.patch"}}, saved.ignored
assert run.save("out/a.tmp", policy="now") == []
run.log({{"loss": 1}})
run.finish(strict=True)
"""


def stored(machine: Machine) -> set[str]:
    vault = machine.vault()
    found = set(all_files(vault, RunPath(ENTITY, "ignoring", "r"))) - OWN
    vault.close()
    return found


@pytest.mark.parametrize("source", ["local file", "user file", "environment", "init"])
def test_s20_ignore_globs_of_each_source_keep_files_from_being_stored(machine, source):
    machine.use(machine.server().url)
    settings = {}
    if source == "environment":
        machine.env["HOLDFAST_IGNORE_GLOBS"] = "*.patch, *.tmp"
    elif source == "init":
        settings = {"ignore_globs": ["*.patch", "*.tmp"]}
    else:
        folder = machine.cwd / "holdfast" if source == "local file" else machine.base / "home"
        folder.mkdir(exist_ok=True)
        (folder / "settings").write_text(
            "[default]\nquiet = soon\nno such line\nignore_globs = *.patch, *.tmp\n"
        )

    assert machine.run(SCRIPT.format(settings=settings)) == 0, machine.output

    assert machine.wait_until_ended(machine.directories()[0]).missing == {}
    assert stored(machine) == {"out/a.txt", "sub/a.txt"}
    if "file" in source:
        assert f"{folder / 'settings'}:2: quiet has the value 'soon'" in machine.output
        assert f"{folder / 'settings'}:3: " in machine.output
    assert "WARNING: save('out/a.tmp') left out what ignore_globs" in machine.output


def test_s20_an_offline_run_is_synced_without_what_was_ignored_then_and_what_is_ignored_now(machine):
    machine.env["HOLDFAST_IGNORE_GLOBS"] = "*.patch, *.tmp"
    machine.env["HOLDFAST_MODE"] = "offline"
    script = SCRIPT.replace("run.finish(strict=True)", "run.finish()")
    assert machine.run(script.format(settings={})) == 0, machine.output
    del machine.env["HOLDFAST_MODE"]
    machine.env["HOLDFAST_IGNORE_GLOBS"] = "sub/"
    machine.use(machine.server().url)

    told = machine.cli("sync", str(machine.directories()[0].path))

    assert told.returncode == 0, told.stderr
    assert ", 5 ignored" in told.stdout
    assert stored(machine) == {"out/a.txt"}
    assert ", 4 ignored" in machine.cli("status").stdout
    [record] = json.loads(machine.cli("status", "--explain", "out/a.tmp", "--json").stdout)
    assert (record["name"], record["state"]) == ("out/a.tmp", "ignored")
    assert record["rules"][0] == {"rule": "ignore_globs", "glob": "*.tmp", "source": "HOLDFAST_IGNORE_GLOBS"}
