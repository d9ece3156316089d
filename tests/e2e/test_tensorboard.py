"""S22: event files of the real writers, read back by TensorBoard's own reader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, all_files, all_versions


@pytest.fixture
def bucket(machine):
    """An S3 service with a bucket, as the script's TensorBoard reaches it."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    service = moto.ThreadedMotoServer(port=0, verbose=False)
    service.start()
    host, port = service.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    machine.env |= {"S3_ENDPOINT": f"http://{host}:{port}", **keys}
    client = boto3.client(
        "s3", endpoint_url=machine.env["S3_ENDPOINT"], aws_access_key_id="key", aws_secret_access_key="secret",
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket="bucket")
    yield client
    service.stop()


def steps_of(path: Path) -> list[int]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(path), size_guidance={"tensors": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    if "loss" in tags["tensors"]:
        return [event.step for event in events.Tensors("loss")]
    return [event.step for event in events.Scalars("loss")] if "loss" in tags["scalars"] else []


def train(machine, way: str, folders: set[str]) -> None:
    """Every version of every event file must be a prefix that TensorBoard reads, the last one the whole file."""
    assert machine.run("writes_events.py", way, timeout=110) == 0, machine.output
    [directory] = machine.directories()
    assert machine.wait_until_ended(directory).missing == {}
    wrote = dict(re.findall(r"^wrote (\S+) (.+)$", machine.output, re.MULTILINE))
    vault, run = machine.vault(), RunPath(ENTITY, "events", way)
    versions = [(info, data) for info, data in all_versions(vault, run) if "tfevents" in info.name]
    vault.close()
    for info, data in versions:
        path = machine.base / "versions" / str(info.version) / info.name.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        steps = steps_of(path)
        assert steps == list(range(len(steps))), (info.name, info.version)
    newest = {info.name: data for info, data in sorted(versions, key=lambda item: item[0].version)}
    assert {name.rpartition("/")[0] for name in newest} == folders
    for name, data in newest.items():
        assert data == Path(wrote[name.split("/")[-2]]).read_bytes()
        assert len([info for info, _ in versions if info.name == name]) > 1


def test_s22_what_pytorch_writes_is_synced_live_wherever_it_lies_but_not_in_a_cloud_storage(machine, bucket):
    machine.use(machine.server().url)

    train(machine, "torch-before-init", {"runs/torch", "own"})

    assert "'s3://bucket/logs/' is a cloud storage url, can't save file to run." in machine.output
    keys = [item["Key"] for item in bucket.list_objects_v2(Bucket="bucket")["Contents"]]
    assert any("tfevents" in key for key in keys)  # TensorBoard itself went on


def test_s22_what_tensorboard_and_tensorboardx_write_is_synced_live_also_when_imported_after_init(machine):
    machine.use(machine.server().url)

    train(machine, "others-after-init", {"runs/tb", "logs/x"})


def test_s22_event_files_in_the_run_dir_are_synced_live_without_any_setting(machine):
    machine.use(machine.server().url)

    train(machine, "no-setting", {"own"})


def test_tensorboard_reads_a_prefix_of_any_length_up_to_its_last_whole_event(tmp_path):
    writer = pytest.importorskip("tensorboard.summary").Writer(str(tmp_path / "log"))
    for step in range(5):
        writer.add_scalar("loss", 1.0, step)
    writer.close()
    [whole] = (tmp_path / "log").iterdir()
    data = whole.read_bytes()
    known = []
    for cut in range(len(data) + 1):
        path = tmp_path / f"events.out.tfevents.{cut}"
        path.write_bytes(data[:cut])
        steps = steps_of(path)
        assert steps in (known, [*known, len(known)])
        known = steps
    assert known == [0, 1, 2, 3, 4]


def test_names_are_relative_to_root_logdir_and_a_disabled_run_saves_nothing(machine):
    script = """
import holdfast, os, sys
from pathlib import Path
run = holdfast.init(project="events", id="root", mode=sys.argv[1])
holdfast.tensorboard.patch(root_logdir="../logs")
holdfast.tensorboard.patch()
from tensorboard.summary import Writer
for folder in ("../logs/exp1/train", "../logs/exp2/train", "../elsewhere/train"):
    writer = Writer(folder)
    writer.add_scalar("loss", 1.0, 0)
    writer.close()
holdfast.finish()
writer = Writer("late")
writer.close()
"""
    assert machine.run(script, "disabled") == 0, machine.output
    assert machine.directories() == []
    assert machine.run(script, "online") == 0, machine.output

    vault = machine.vault()
    names = {
        name.rpartition("/")[0]
        for name in all_files(vault, RunPath(ENTITY, "events", "root"))
        if "tfevents" in name
    }
    vault.close()
    assert names == {"exp1/train", "exp2/train", "elsewhere/train"}
