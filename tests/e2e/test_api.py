"""The Run API and versions (S19, S28) against a real server, and the same verbs by the command line and HTTP."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import StoredFileNotFoundError
from holdfast.settings import load_settings
from tests.helpers import open_run, put_files

TRAINING = """
import time
from pathlib import Path
import holdfast as wandb

run = wandb.init(project="guide", id="run1", config={"lr": 0.1}, tags=["first"])
Path("model.h5").write_bytes(b"weights 1")
[saved] = wandb.save("model.h5")
saved.wait(30)
time.sleep(1.1)
Path("model.h5").write_bytes(b"weights 2, longer")
for step in range(3):
    wandb.log({"loss": 1 / (step + 1)})
Path(run.dir, "notes.txt").write_text("done")
"""


@pytest.fixture
def server(machine):
    server = machine.server()
    machine.use(server.url)
    return server


@pytest.fixture
def api(machine, server):
    with holdfast.Api(load_settings(machine.env)) as made:
        yield made


@pytest.fixture
def run(machine, api):
    assert machine.run(TRAINING) == 0, machine.output
    machine.wait_until_ended(machine.directories()[-1])
    return api.run("me/guide/run1")


def get(url: str, machine, server) -> bytes:
    key = machine.vault_key(server.url)
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def test_s19_files_are_listed_downloaded_uploaded_and_deleted_outside_training(
    machine, server, api, run, monkeypatch
):
    monkeypatch.chdir(machine.base)
    assert {"model.h5", "notes.txt", "history.jsonl"} <= {file.name for file in run.files()}
    assert [file.name for file in run.files("*.h5")] == ["model.h5"]

    with api.run("me/guide/run1").file("model.h5").download() as file:
        assert file.read() == b"weights 2, longer"

    Path("report.txt").write_text("a report")
    uploaded = run.upload_file("report.txt")
    assert uploaded.url == f"{server.url}/api/v1/runs/me/guide/run1/raw/report.txt?version=1"
    assert get(uploaded.url, machine, server) == b"a report"
    run.file("report.txt").delete()
    with pytest.raises(StoredFileNotFoundError):
        run.file("report.txt")

    assert (run.state, run.config, run.tags, run.step) == ("finished", {"lr": 0.1}, ["first"], 2)
    assert [round(row["loss"], 2) for row in run.history()] == [1.0, 0.5, 0.33]
    assert run.url == f"{server.url}/me/guide/runs/run1"


def test_runs_are_found_by_filters_on_the_server(machine, api, run):
    found = api.runs("me/guide", {"config.lr": {"$gte": 0.1}, "summary_metrics.loss": {"$lt": 0.5}})
    assert [one.id for one in found] == ["run1"]

    run.tags = ["best"]
    run.update()

    by_cli = machine.cli("runs", "me/guide", "--filter", '{"tags": "best"}', "--json")
    assert [one["run_id"] for one in json.loads(by_cli.stdout)] == ["run1"]
    assert len(api.runs("me/guide", {"tags": "first"})) == 0


def test_s28_past_states_are_had_back_by_number_and_by_time(machine, server, run, monkeypatch):
    monkeypatch.chdir(machine.base)
    first, newest = run.file("model.h5", version=1), run.file("model.h5")
    assert [file.version for file in newest.versions] == [2, 1]

    then = first.created_at.astimezone(UTC).isoformat()
    script = f"""
import holdfast
from datetime import datetime
path = "me/guide/run1"
assert holdfast.restore("model.h5", run_path=path, root="a", version=1).read() == b"weights 1"
assert holdfast.restore("model.h5", run_path=path, root="b", version={then!r}).read() == b"weights 1"
then = datetime.fromisoformat({then!r})
assert holdfast.restore("model.h5", run_path=path, root="c", version=then).read() == b"weights 1"
assert holdfast.restore("model.h5", run_path=path, root="d").read() == b"weights 2, longer"
"""
    assert machine.run(script) == 0, machine.output

    assert machine.cli("cat", "me/guide/run1", "model.h5", "--version", "1").stdout == "weights 1"
    raw = f"{server.url}/api/v1/runs/me/guide/run1/raw/model.h5?at={then.replace('+00:00', 'Z')}"
    assert get(raw, machine, server) == b"weights 1"
    differs = machine.cli("diff", "me/guide/run1", "model.h5", "1", "2")
    assert (differs.returncode, differs.stdout.splitlines()[-4:]) == (
        1,
        ["-weights 1", "\\ No newline at end of file", "+weights 2, longer", "\\ No newline at end of file"],
    )
    found = json.loads(
        get(f"{server.url}/api/v1/runs/me/guide/run1/diff?name=model.h5&old=1", machine, server)
    )
    assert (found["is_same"], found["text"]) == (False, differs.stdout)

    first.pin()
    pinned = json.loads(machine.cli("versions", "me/guide/run1", "model.h5", "--json").stdout)
    assert [info["pinned"] for info in pinned] == [False, True]


def test_two_thousand_files_are_downloaded_at_once_and_again_for_nothing(machine, server, api, tmp_path):
    vault = machine.vault()
    path = open_run(vault, "bulk", "many")
    contents = {f"shards/{number % 20}/{number}.txt": b"%d\n" % number for number in range(2000)}
    put_files(vault, path, contents)
    vault.close()
    run = api.run(str(path))

    began = datetime.now(UTC)
    report = run.download(tmp_path / "out")
    seconds = (datetime.now(UTC) - began).total_seconds()

    assert {name: (tmp_path / "out" / name).read_bytes() for name in contents} == contents
    assert seconds < 30
    assert report.bytes_fetched > 0
    assert run.files("shards/1*/**").download(tmp_path / "out").bytes_fetched == 0
