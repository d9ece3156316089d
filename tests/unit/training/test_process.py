"""What only a process of its own can show: imports, exits, syncers that are started and started again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.rundir.facts import Ended, Finished, Opened, Refused, SyncerStarted, from_records, to_record
from holdfast.rundir.layout import RunDirectory, find_run_directories
from holdfast.rundir.records import RecordReader, RecordWriter
from holdfast.settings import load_settings
from holdfast.training import launch

OFFLINE = "import holdfast, sys, os; run = holdfast.init(mode='offline', project='p', id='abc')\n"


def script(text, folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        env={**os.environ, "HOLDFAST_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def facts_of(folder):
    [directory] = find_run_directories(Path(folder, "holdfast"))
    return list(from_records(RecordReader(directory.journal).read()))


def test_importing_and_using_a_run_loads_nothing_of_the_vault(tmp_path):
    heavy = "('pydantic', 'sqlalchemy', 'urllib3', 'click', 'rich', 'fastapi')"
    text = (
        "import sys, holdfast\n"
        f"heavy = {heavy} + ('psutil', 'yaml', 'subprocess', 'dataclasses')\n"
        "assert not [name for name in heavy if name in sys.modules], sys.modules.keys()\n"
        f"{OFFLINE}open('x.txt', 'w').write('x'); holdfast.save('x.txt'); holdfast.log({{'a': 1}}); holdfast.finish()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    done = script(text, tmp_path)

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("raise ValueError", 1),
        ("raise KeyboardInterrupt", 130),
        ("sys.exit(3)", 3),
        ("sys.exit('a message')", 1),
        ("sys.exit()", 0),
        ("exit(3)", 3),
        ("quit(4)", 4),
        ("\ntry:\n sys.exit(4)\nexcept SystemExit:\n run.log({'a': 1})", 0),
        ("os.fork() or sys.exit(5); os.wait()", 0),
    ],
)
def test_the_end_of_the_script_is_recorded_with_its_exit_code(tmp_path, ending, code):
    script(OFFLINE + ending, tmp_path)

    assert [fact.exit_code for fact in facts_of(tmp_path) if isinstance(fact, Finished)] == [code]


def test_with_strict_a_script_that_leaves_files_behind_exits_non_zero_and_flushes(tmp_path):
    text = OFFLINE + "open('x.txt', 'w').write('x'); run.save('x.txt'); print('last words', end='')"

    done = script(text, tmp_path, HOLDFAST_STRICT="1")

    assert (done.returncode, done.stdout) == (9, "last words")
    assert "x.txt" in done.stderr


def test_a_disabled_run_takes_every_call_and_touches_nothing(tmp_path):
    text = (
        "import holdfast, os\n"
        "run = holdfast.init(mode='disabled', config={'a': 1}, dir='here')\n"
        "assert holdfast.save('gs://x') == [] and run.config.a == 1\n"
        "run.log({'a': 1}); run.summary['b'] = 2; open(os.path.join(run.dir, 'x'), 'w').close()\n"
        "assert holdfast.finish().is_complete and holdfast.run is None\n"
    )

    done = script(text, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_calls_without_a_run_say_what_to_do(tmp_path):
    text = (
        "import holdfast\n"
        "assert holdfast.run is None and holdfast.finish() is None\n"
        "for call in (lambda: holdfast.save('x'), lambda: holdfast.log({}), lambda: holdfast.config['a'],\n"
        "             lambda: holdfast.restore('x')):\n"
        "    try: call()\n"
        "    except holdfast.HoldfastError as exc: print(exc)\n"
    )

    lines = script(text, tmp_path).stdout.splitlines()

    assert len(lines) == 4
    assert all("holdfast.init()" in line for line in lines[:3])
    assert "run_path=" in lines[3]


def test_calls_that_only_wandb_has_do_not_end_a_training(tmp_path):
    text = (
        OFFLINE
        + "holdfast.define_metric('loss', summary='min'); run.watch(object()); run.watch(object()); holdfast.alert('a', 'b')\n"
        "run.log({'image': holdfast.Image([1]), 'table': holdfast.Table(columns=['a'])})\n"
        "for thing, name in ((holdfast, 'sweep'), (run, 'log_artifact'), (holdfast, '__path_hooks__')):\n"
        "    try: getattr(thing, name)\n"
        "    except AttributeError as exc: print(exc)\n"
    )

    done = script(text, tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the guide tells") == 2
    assert done.stderr.count("watch() has no effect") == 1
    [directory] = find_run_directories(tmp_path / "holdfast")
    assert '"image": "Image, not kept"' in (directory.files / "history.jsonl").read_text()


@pytest.mark.parametrize(
    ("reinit", "runs", "warned"),
    [("None", 1, True), ("'return_previous'", 1, False), ("'finish_previous'", 2, False), ("True", 2, False)],
)
def test_init_again_does_what_reinit_says(tmp_path, reinit, runs, warned):
    text = f"{OFFLINE}again = holdfast.init(mode='offline', id='def', reinit={reinit})\nprint(again.id)"

    done = script(text, tmp_path)

    assert len(list(find_run_directories(tmp_path / "holdfast"))) == runs
    assert done.stdout.strip() == ("abc" if runs == 1 else "def")
    assert ("is under way" in done.stderr) is warned


def test_init_again_returns_the_run_under_way_with_a_warning(tmp_path):
    text = (
        OFFLINE
        + "assert holdfast.init(project='q') is run\nother = holdfast.init(mode='offline', reinit=True)\n"
    )
    done = script(text + "assert other is not run and run.is_finished and holdfast.run is other", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "abc is under way" in done.stderr


def test_the_run_directory_is_absolute_and_named_by_time_and_id(tmp_path):
    text = "import holdfast; r = holdfast.init(mode='offline', id='x1', dir='sub/folder'); print(r.dir)"

    printed = Path(script(text, tmp_path).stdout.strip())

    assert printed.is_relative_to(tmp_path / "sub/folder/holdfast")
    assert printed.parent.name.startswith("run-2")
    assert printed.parent.name.endswith("-x1")
    assert printed.is_dir()


@pytest.mark.parametrize(
    "bad",
    [
        "id='a/b'",
        "project='../x'",
        "mode='sometimes'",
        "resume='perhaps'",
        "settings={'no': 1}",
        "config='no.yaml'",
    ],
)
def test_what_init_cannot_take_is_refused_before_anything_is_made(tmp_path, bad):
    done = script(
        f"import holdfast\ntry: holdfast.init({bad})\nexcept holdfast.HoldfastError as exc: print(exc)",
        tmp_path,
    )

    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- syncers


def directory_with(root, *said, mode="online", run_id="abc"):
    directory = RunDirectory.create(root, run_id)
    opened = Opened("a" * 16, "me", "p", run_id, mode, None, "/home", 0.0, "here", 1, 0.0)
    with RecordWriter(directory.journal) as journal, RecordWriter(directory.sync_log) as log:
        journal.append(to_record(opened))
        log.append(*(to_record(fact) for fact in said))
    return directory


@pytest.fixture
def started(monkeypatch):
    """Which directories a syncer was started for; no process is started."""
    found = []
    monkeypatch.setattr(launch, "start_syncer", lambda directory, _settings: found.append(directory.path))
    return found


def test_revive_takes_up_what_was_left_behind_here_or_anywhere(tmp_path, started):
    settings = load_settings(dir=tmp_path)
    own = directory_with(settings.run_root, run_id="own")
    here = directory_with(settings.run_root, SyncerStarted("h", 1, 1.0), run_id="here")
    failed = directory_with(settings.run_root, Ended("crashed", None, 1, {"a": "why"}, 1.0), run_id="failed")
    directory_with(settings.run_root, Ended("finished", 0, 1, {}, 1.0), run_id="done")
    directory_with(settings.run_root, Refused("forbidden", "No."), run_id="refused")
    directory_with(settings.run_root, mode="offline", run_id="offline")
    elsewhere = directory_with(tmp_path / "elsewhere", run_id="listed")
    launch.add_pending(settings.home, "attempt1", elsewhere)
    launch.add_pending(settings.home, "attempt2", RunDirectory(tmp_path / "gone"))

    launch.revive(settings, own=own)

    assert sorted(started) == sorted([here.path, failed.path, elsewhere.path])


def test_a_directory_that_a_syncer_follows_is_left_alone(tmp_path, started):
    from holdfast.rundir.lease import acquire_lease

    settings = load_settings(dir=tmp_path)
    with acquire_lease(directory_with(settings.run_root)):
        launch.revive(settings)
    assert started == []


@pytest.mark.e2e
def test_the_syncer_that_is_killed_is_started_again(tmp_path):
    text = (
        "import holdfast, time, os, signal\n"
        "run = holdfast.init(project='p', id='abc')\n"
        "first = run._syncer._process; os.kill(first.pid, signal.SIGKILL); first.wait()\n"
        "deadline = time.monotonic() + 30\n"
        "while run._syncer._process is first and time.monotonic() < deadline:\n"
        "    run.log({'a': 1}); time.sleep(0.1)\n"
        "assert run._syncer._process is not first\n"
        "print(run.finish(timeout=30).missing)\n"
    )

    done = script(text, tmp_path)

    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr
    assert list(Path(os.environ["HOLDFAST_HOME"], "pending").iterdir()) == []


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("resume", "error"), [("must", "RunNotFoundError"), ("never", None), ("allow", None)]
)
def test_resume_waits_for_the_answer_and_a_refused_run_leaves_nothing(tmp_path, resume, error):
    text = (
        "import holdfast\n"
        f"try: holdfast.init(project='p', id='abc', resume={resume!r}).finish(); print('None')\n"
        "except holdfast.HoldfastError as exc: print(type(exc).__name__)\n"
    )

    done = script(text, tmp_path)

    assert done.stdout == f"{error}\n", done.stderr
    if error:
        assert list(find_run_directories(tmp_path / "holdfast")) == []
        assert list(Path(os.environ["HOLDFAST_HOME"], "pending").iterdir()) == []


@pytest.mark.e2e
def test_a_resumed_run_has_its_config_summary_and_step_again(tmp_path):
    first = (
        "import holdfast\n"
        "with holdfast.init(project='p', id='abc', config={'lr': 1}) as run:\n"
        "    run.log({'loss': 5}); run.log({'loss': 4})\n"
    )
    assert script(first, tmp_path).returncode == 0

    second = (
        "import holdfast\n"
        "run = holdfast.init(project='p', id='abc', resume='must', config={'more': 2})\n"
        "run.log({'loss': 3})\n"
        "print(dict(run.config), dict(run.summary), run.step, run.resumed, run.finish().missing)\n"
        "print(holdfast.restore('history.jsonl', 'p/abc', root='out').read().count(b'\\n'))\n"
    )
    done = script(second, tmp_path)

    assert done.stdout == "{'lr': 1, 'more': 2} {'loss': 3} 3 True {}\n3\n", done.stderr


def test_auto_takes_up_the_last_run_that_did_not_end_well(tmp_path):
    text = "import holdfast, sys, os; r = holdfast.init(mode='offline', project='p', resume='auto'); print(r.id, flush=True); "

    crashed = script(text + "os._exit(1)", tmp_path).stdout
    taken_up = script(text, tmp_path).stdout
    after_that = script(text, tmp_path).stdout

    assert crashed == taken_up != after_that
