"""The guide's promises S1-S13, S16-S18, S21, S23 and S27-S29, its own examples, against a real server, `as wandb`."""

from __future__ import annotations

import re

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, Machine, all_files, read_file

HEAD = """
import os, sys, time, glob
from pathlib import Path
import holdfast as wandb
"""


@pytest.fixture
def online(machine):
    machine.use(machine.server().url)
    return machine


def guide(
    machine: Machine, script: str, *, run_id: str = "guide", init: str = "", expect: int = 0
) -> dict[str, bytes]:
    """Run a script of the guide and return what the vault then has, by name, without the run's own files."""
    start = f"run = wandb.init(project='guide', id={run_id!r}{init})\n"
    code = machine.run(HEAD + start + script)
    assert code == expect, machine.output
    for directory in machine.directories():
        assert machine.wait_until_ended(directory).missing == {}
    vault = machine.vault()
    run = RunPath(ENTITY, "guide", run_id)
    own = {"history.jsonl", "config.yaml", "summary.json"}
    found = {name: read_file(vault, run, name) for name in all_files(vault, run) if name not in own}
    vault.close()
    return found


def test_s1_save_a_file_of_the_current_directory(online):
    (online.cwd / "model.h5").write_bytes(b"weights")

    assert guide(online, "wandb.save('model.h5')") == {"model.h5": b"weights"}


@pytest.mark.parametrize(
    ("end", "expect"),
    [("", 0), ("raise RuntimeError('the script crashed')", 1), ("os.kill(os.getpid(), 9)", -9)],
)
def test_s2_files_written_into_the_run_dir_are_uploaded_at_the_end(online, end, expect):
    script = """
Path(run.dir, "model.h5").write_bytes(b"weights")
Path(run.dir, "sub/folder").mkdir(parents=True)
Path(run.dir, "sub/folder/deep.txt").write_text("deep")
"""
    stored = guide(online, script + end, expect=expect)

    assert stored == {"model.h5": b"weights", "sub/folder/deep.txt": b"deep"}


def test_s3_a_resumed_run_restores_without_a_run_path(online):
    guide(online, "Path('checkpoint.txt').write_text('step 7'); wandb.save('checkpoint.txt')")
    (online.cwd / "checkpoint.txt").unlink()

    guide(online, "assert wandb.restore('checkpoint.txt').read() == b'step 7'", init=", resume='must'")


def test_s4_a_glob_is_synced_while_it_is_written(online):
    script = """
Path("a.log").write_text("one\\n")
[saved] = wandb.save("*.log")
assert saved.wait(20).version == 1
with open("a.log", "a") as file:
    file.write("two\\n")
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    if wandb.restore("a.log", run_path=run.path, root="check", replace=True).read() == b"one\\ntwo\\n":
        break
    time.sleep(0.3)
else:
    raise SystemExit("the change was not synced while the run went on")
"""
    assert guide(online, script) == {"a.log": b"one\ntwo\n"}


def test_s5_a_relative_pattern_above_the_working_directory(online):
    logs = online.base / "logs"
    logs.mkdir()
    (logs / "a-ckpt-1").write_text("1")
    (logs / "b-ckpt-2").write_text("2")

    stored = guide(online, "saved = wandb.save('../logs/*ckpt*'); print('mapping', saved)")

    assert stored == {"logs/a-ckpt-1": b"1", "logs/b-ckpt-2": b"2"}
    assert re.search(r"mapping.*logs/a-ckpt-1", online.output, re.DOTALL)


def test_s6_every_file_of_the_run_dir_that_starts_with_checkpoint_also_those_created_later(online):
    script = """
Path(wandb.run.dir, "checkpoint-1").write_text("1")
wandb.save(os.path.join(wandb.run.dir, "checkpoint*"))
Path(wandb.run.dir, "checkpoint-2").write_text("2")
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    try:
        if wandb.restore("checkpoint-2", run_path=run.path, root="check").read() == b"2":
            break
    except LookupError:
        time.sleep(0.3)
else:
    raise SystemExit("a later match was not synced while the run went on")
"""
    assert guide(online, script) == {"checkpoint-1": b"1", "checkpoint-2": b"2"}


@pytest.mark.parametrize("how", ["default", "environment", "argument"])
def test_s7_the_run_dir(online, how):
    elsewhere = online.base / "elsewhere"
    if how == "environment":
        online.env["HOLDFAST_DIR"] = "../elsewhere"
    init = ", dir='../elsewhere'" if how == "argument" else ""

    online.run(HEAD + f"run = wandb.init(project='guide', id='where'{init})\nprint('dir', run.dir)")

    [found] = re.findall(r"^dir (.*)$", online.output, re.MULTILINE)
    root = online.cwd if how == "default" else elsewhere
    assert re.fullmatch(re.escape(f"{root}/holdfast/run-") + r"\d{8}_\d{6}-where/files", found)


def test_s8_and_s9_live_syncs_every_change_and_now_only_once(online):
    script = """
for name, policy in (("live.txt", "live"), ("now.txt", "now")):
    Path(name).write_text("first")
    wandb.save(name, policy=policy)[0].wait(20)
for name in ("live.txt", "now.txt"):
    Path(name).write_text("second")
time.sleep(2.5)
"""
    assert guide(online, script) == {"live.txt": b"second", "now.txt": b"first"}


@pytest.mark.parametrize(("end", "expect"), [("", 0), ("os.abort()", -6)])
def test_s10_end_syncs_when_the_run_ends_also_by_a_crash(online, end, expect):
    script = """
Path("report.txt").write_text("draft")
wandb.save("report.txt", policy="end")
time.sleep(2)
try:
    wandb.restore("report.txt", run_path=run.path, root="check")
    raise SystemExit("it was stored before the end")
except LookupError:
    pass
Path("report.txt").write_text("final")
"""
    assert guide(online, script + end, expect=expect) == {"report.txt": b"final"}


@pytest.mark.parametrize("keyword", ["path", "glob_str"])
def test_s11_base_path_keeps_the_hierarchy(online, keyword):
    (online.cwd / "results" / "eval").mkdir(parents=True)
    (online.cwd / "results" / "eval" / "a.csv").write_text("a")

    script = f"wandb.save({keyword}='./results/eval/*', base_path='./results', policy='now')"

    assert guide(online, script) == {"eval/a.csv": b"a"}


def test_s12_save_links_what_exists_and_needs_another_call_for_what_comes_later(online):
    script = """
Path("out").mkdir()
Path("out/a.bin").write_text("a")
saved = wandb.save("out/*.bin", policy="now")
assert [item.name for item in saved] == ["out/a.bin"]
assert Path(run.dir, "out/a.bin").resolve() == Path("out/a.bin").resolve()
Path("out/b.bin").write_text("b")
time.sleep(1.5)
"""
    assert guide(online, script) == {"out/a.bin": b"a"}
    again = script.replace("time.sleep(1.5)", "wandb.save('out/*.bin', policy='now')").replace(
        "mkdir()", "mkdir(exist_ok=True)"
    )
    online.cwd.joinpath("out", "b.bin").unlink()
    assert guide(online, again, run_id="again") == {"out/a.bin": b"a", "out/b.bin": b"b"}


def test_s13_one_pattern_at_the_top_saves_every_later_match_in_the_run_dir(online):
    script = """
wandb.save("*.pt")
Path(run.dir, "epoch-1.pt").write_text("1")
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    try:
        wandb.restore("epoch-1.pt", run_path=run.path, root="check")
        break
    except LookupError:
        time.sleep(0.3)
else:
    raise SystemExit("not synced while the run went on")
"""
    assert guide(online, script) == {"epoch-1.pt": b"1"}


def test_s16_and_s17_restore_from_any_run_gives_a_file_with_a_name(online):
    guide(
        online,
        "Path('weights.bin').write_bytes(bytes(range(256))); wandb.save('weights.bin')",
        run_id="a1b2c3d4",
    )
    script = f"""
before = wandb.restore("weights.bin", run_path="{ENTITY}/guide/a1b2c3d4", root="no-run")
assert before.read() == bytes(range(256)) and os.path.isabs(before.name)
run = wandb.init(project="guide", id="other")
best = wandb.restore("weights.bin", run_path="{ENTITY}/guide/a1b2c3d4")
assert Path(best.name) == Path(run.dir, "weights.bin")
assert Path(best.name).read_bytes() == bytes(range(256))
"""
    (online.cwd / "weights.bin").unlink()
    assert online.run(HEAD + script) == 0, online.output
    for directory in online.directories():
        assert online.wait_until_ended(directory).missing == {}
    vault = online.vault()
    assert "weights.bin" not in all_files(vault, RunPath(ENTITY, "guide", "other"))  # restoring is not saving
    assert len(vault.list_versions(RunPath(ENTITY, "guide", "a1b2c3d4"), "weights.bin")) == 1
    vault.close()


def test_s18_restore_without_a_run_path_says_what_to_do(online):
    script = """
try:
    wandb.restore("model.h5")
except ValueError as exc:
    assert "run_path" in str(exc), exc
    print("said:", exc)
else:
    raise SystemExit("no error")
"""
    assert online.run(HEAD + script) == 0, online.output
    assert online.run(HEAD + "wandb.init(project='guide', id='fresh')\n" + script) == 0, online.output


def test_s23_a_readable_name_is_there_after_save_without_arguments(online):
    script = HEAD + "run = wandb.init(project='names')\nrun.save()\nprint('name', run.name)\n"
    for _ in range(2):
        assert online.run(script) == 0, online.output

    assert re.findall(r"^name [a-z]+-[a-z]+-(\d+)$", online.output, re.MULTILINE) == ["1", "2"]


def test_s27_resuming(online):
    guide(online, "run.config['lr'] = 0.1; run.log({'loss': 2.0}); run.log({'loss': 1.0})", run_id="resumed")

    script = """
assert run.resumed and run.config["lr"] == 0.1 and run.summary["loss"] == 1.0, (run.resumed, dict(run.config))
run.log({"loss": 0.5})
"""
    guide(online, script, run_id="resumed", init=", resume='allow'")
    must = "try:\n  wandb.init(project='guide', id='nobody', resume='must')\nexcept LookupError as e: print('must:', e)\nelse: sys.exit(9)"
    assert online.run(HEAD + must) == 0, online.output
    never = "try:\n  wandb.init(project='guide', id='resumed', resume='never')\nexcept wandb.HoldfastError as e: print('never:', e)\nelse: sys.exit(9)"
    assert online.run(HEAD + never) == 0, online.output
    online.env |= {"HOLDFAST_RUN_ID": "resumed", "HOLDFAST_RESUME": "must", "HOLDFAST_PROJECT": "guide"}
    assert online.run(HEAD + "run = wandb.init(); assert run.resumed and run.id == 'resumed'") == 0, (
        online.output
    )


def test_s28_past_states_can_be_had_back(online):
    script = """
for text in ("one", "two", "three"):
    Path("file.txt").write_text(text)
    wandb.save("file.txt", policy="now")[0].wait(20)
for version, text in ((1, b"one"), (2, b"two"), (3, b"three"), (None, b"three")):
    got = wandb.restore("file.txt", run_path=run.path, version=version, root="past", replace=True).read()
    assert got == text, (version, got)
"""
    assert guide(online, script) == {"file.txt": b"three"}


_ASKED = {
    "project": "asked",
    "name": "brave-name",
    "notes": "some notes",
    "tags": ["one", "two"],
    "group": "a-group",
    "job_type": "eval",
}


@pytest.mark.parametrize("how", ["arguments", "variables"])
def test_s29_arguments_and_variables_of_the_guide_have_their_counterparts(online, tmp_path, how):
    elsewhere = tmp_path / "elsewhere"
    if how == "arguments":
        given = {**_ASKED, "entity": ENTITY, "id": "asked1", "dir": str(elsewhere), "config": {"lr": 0.1}}
        start = f"run = wandb.init(mode='online', resume='never', settings={{'silent': True}}, **{given!r})\n"
    else:
        names = {"group": "RUN_GROUP", "tags": "TAGS"}
        values = {**_ASKED, "tags": "one, two", "run_id": "asked1", "resume": "allow", "mode": "online"}
        values |= {"dir": str(elsewhere), "silent": "true", "entity": ENTITY}
        online.env |= {f"HOLDFAST_{names.get(key, key.upper())}": value for key, value in values.items()}
        start = "run = wandb.init(config={'lr': 0.1})\n"
    script = "Path(run.dir, 'f.txt').write_text('f'); print('dir', run.dir); wandb.finish()"

    assert online.run(HEAD + start + script) == 0, online.output

    assert f"dir {elsewhere}/holdfast/run-" in online.output
    vault = online.vault()
    run = vault.get_run(RunPath(ENTITY, "asked", "asked1"))
    told = {key: getattr(run, key) for key in _ASKED}
    vault.close()
    assert told == _ASKED
    assert run.config == {"lr": 0.1}

    online.env |= {"HOLDFAST_MODE": "disabled"}
    assert online.run(HEAD + "assert wandb.init(project='x').disabled and wandb.save('*') == []") == 0, (
        online.output
    )


def test_the_same_works_embedded_without_any_server(machine):
    (machine.cwd / "model.h5").write_bytes(b"weights")

    assert guide(machine, "wandb.save('model.h5')") == {"model.h5": b"weights"}


def test_what_is_unchanged_never_makes_a_new_version(online):
    script = "Path('m.bin').write_bytes(b'x' * 100_000); wandb.save('m.bin')"
    guide(online, script)
    guide(online, script + "; wandb.save('m.bin', policy='now')", init=", resume='allow'")
    guide(online, "wandb.restore('m.bin')", init=", resume='allow'")
    vault = online.vault()
    assert len(vault.list_versions(RunPath(ENTITY, "guide", "guide"), "m.bin")) == 1
    vault.close()


def test_s21_a_cloud_url_is_refused_with_a_remedy_and_nothing_of_it_is_registered(online):
    script = """
from holdfast.errors import CloudUrlError
Path("ok.txt").write_text("ok")
for argument, base_path in (
    ("gs://bucket/events.out.tfevents.1", None), ("s3://b/*.pt", None), ("az://c/b", None), ("abfs://c@a/b", None),
    ("https://host/f", None), (Path("gs://bucket/x"), None), ("file:///etc/hostname", None), ("ok.txt", "s3://b"),
):
    try:
        wandb.save(argument, base_path=base_path)
    except CloudUrlError as error:
        assert "can't save file to run" in str(error) and error.hint
    else:
        raise AssertionError(argument)
assert os.listdir(run.dir) == []
wandb.save("ok.txt")
"""
    assert guide(online, script) == {"ok.txt": b"ok"}
