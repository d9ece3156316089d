"""Names, resuming and processes of runs, on the embedded vault and on a real server."""

from __future__ import annotations

import json
import signal
import sys

import pytest

from holdfast.names import RunPath
from holdfast.protocol.messages import RunState
from tests.e2e.harness import Machine, all_files, read_file, wait_until

RUN = RunPath("me", "p", "abc")
BEGIN = "import holdfast, os, sys, time\n"


@pytest.fixture(params=["embedded", "server"])
def vault(machine: Machine, request):
    if request.param == "server":
        machine.use(machine.server().url)
    opened = machine.vault()
    yield opened
    opened.close()


# ---------------------------------------------------------------- names


def test_what_was_set_of_a_run_reaches_the_vault_though_everything_is_killed(machine, vault):
    process = machine.start(
        BEGIN + "run = holdfast.init(project='p', id='abc', tags=['a'], group='g', job_type='t')\n"
        "assert run.save() and run.name.endswith('-1'), run.name\n"
        "os.kill(run._syncer._process.pid, 9)\n"
        "run.name = 'mine'; run.notes = 'n'; run.tags += ('b',)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert process.wait(60) == -signal.SIGKILL

    assert machine.cli("sync").returncode == 0

    info = vault.get_run(RUN)
    assert (info.name, info.notes, info.tags) == ("mine", "n", ["a", "b"])
    assert (info.group, info.job_type, info.state) == ("g", "t", RunState.CRASHED)


def test_a_resumed_run_has_its_name_notes_tags_and_group_again(machine, vault):
    first = "run = holdfast.init(project='p', id='abc', name='mine', notes='n', tags=['a'], group='g')\n"
    assert machine.run(BEGIN + first) == 0
    again = (
        "run = holdfast.init(project='p', id='abc', resume='must')\n"
        "assert (run.name, run.notes, run.tags, run.group) == ('mine', 'n', ('a',), 'g')\n"
        "run.tags += ('b',)\n"
    )
    assert machine.run(BEGIN + again) == 0, machine.output

    assert vault.get_run(RUN).tags == ["a", "b"]


def test_a_script_logs_in_by_itself(machine):
    server = machine.server()
    key = machine.vault_key(server.url)
    machine.env["HOLDFAST_HOME"] = str(machine.base / "other-home")
    script = (
        "assert holdfast.login() is False\n"
        "assert holdfast.login(key=sys.argv[2], host=sys.argv[1]) is True\n"
        "assert holdfast.login() is True\n"
        "run = holdfast.init(project='p', id='abc')\n"
        "assert run.url.startswith(sys.argv[1]), run.url\n"
        "run.finish()\n"
        "holdfast.logout()\n"
        "assert holdfast.login() is False\n"
    )

    assert machine.run(BEGIN + script, server.url, key) == 0, machine.output
    assert key not in machine.output


# ---------------------------------------------------------------- resuming

FIRST = (
    "run = holdfast.init(project='p', id='abc', config={'lr': 1, 'kept': 2})\n"
    "for loss in (3, 2, 1): run.log({'loss': loss})\n"
    "open('model.pt', 'w').write('weights'); holdfast.save('model.pt')\n"
)
AGAIN = (
    "run = holdfast.init(project='p', config={'lr': 5}, **eval(sys.argv[1]))\n"
    "assert (run.id, run.resumed, run.step) == ('abc', True, 3), (run.id, run.resumed, run.step)\n"
    "assert dict(run.config) == {'lr': 5, 'kept': 2} and run.summary['loss'] == 1, (run.config, run.summary)\n"
    "assert holdfast.restore('model.pt').read() == b'weights'\n"
    "run.log({'loss': 0})\n"
    "open(os.path.join(run.dir, 'more.txt'), 'w').write('more')\n"
)


@pytest.mark.parametrize("how", ["id='abc', resume='must'", "id='abc', resume='allow'", "environment"])
def test_a_run_resumed_on_a_fresh_machine_goes_on_where_it_was(machine, vault, tmp_path, how):
    assert machine.run(BEGIN + FIRST) == 0, machine.output
    machine.env["HOLDFAST_DIR"] = str(tmp_path / "fresh")
    if (url := machine.env.get("HOLDFAST_BASE_URL")) is not None:
        machine.use(url, machine.vault_key(url))
        machine.env["HOLDFAST_HOME"] = str(tmp_path / "fresh-home")
    if how == "environment":
        machine.env.update({"HOLDFAST_RUN_ID": "abc", "HOLDFAST_RESUME": "must"})

    (tmp_path / "elsewhere").mkdir()
    arguments = "{}" if how == "environment" else f"dict({how})"
    assert machine.run(BEGIN + AGAIN, arguments, cwd=tmp_path / "elsewhere") == 0, machine.output

    info = vault.get_run(RUN)
    assert (info.state, info.attempts, info.step) == (RunState.FINISHED, 2, 3)
    assert (info.config, info.summary["loss"]) == ({"lr": 5, "kept": 2}, 0)
    rows = [json.loads(line) for line in read_file(vault, RUN, "history.jsonl").splitlines()]
    assert [(row["_step"], row["loss"]) for row in rows] == [(0, 3), (1, 2), (2, 1), (3, 0)]
    assert [version.version for version in vault.list_versions(RUN, "model.pt")] == [1]
    assert {"model.pt", "more.txt"} <= set(all_files(vault, RUN))


def test_must_and_never_refuse_before_anything_is_made(machine, vault):
    assert machine.run(BEGIN + "holdfast.init(project='p', id='abc', resume='must')") == 1
    assert "There is no run me/p/abc" in machine.output
    assert machine.run(BEGIN + "holdfast.init(project='p', id='abc', resume='never')") == 0
    assert machine.run(BEGIN + "holdfast.init(project='p', id='abc', resume='never')") == 1
    assert "The run me/p/abc exists" in machine.output

    assert len(machine.directories()) == 1
    assert vault.get_run(RUN).attempts == 1


def test_auto_takes_up_the_run_that_was_killed_here_and_not_one_that_ended(machine, vault):
    begin = (
        BEGIN + "run = holdfast.init(project='p', resume=True)\nprint('ID', run.id, run.step, flush=True)\n"
    )
    killed = machine.start(begin + "run.log({'a': 1})\nrun.save()\nos.kill(os.getpid(), 9)\n")
    killed.wait(60)
    machine.wait_until_ended(machine.directories()[-1])
    assert machine.run(begin) == 0
    assert machine.run(begin) == 0

    lines = [line.split()[1:] for line in machine.output.splitlines() if line.startswith("ID")]
    assert lines[0][0] == lines[1][0] != lines[2][0], lines
    assert [line[1] for line in lines] == ["0", "1", "0"]


def test_with_the_server_down_allow_goes_on_and_must_says_that_nobody_can_tell(machine):
    server = machine.server()
    machine.use(server.url, machine.vault_key(server.url))
    assert machine.run(BEGIN + FIRST) == 0
    server.kill()
    begin = (
        BEGIN
        + "run = holdfast.init(project='p', id='abc', resume=sys.argv[1], settings={'init_timeout': 2})\n"
        "run.log({'loss': 9}); open(os.path.join(run.dir, 'late.txt'), 'w').write('late')\n"
        "run.finish(timeout=1)\n"
    )

    allowed, refused = machine.start(begin, "allow"), machine.start(begin, "must")

    assert (allowed.wait(60), refused.wait(60)) == (0, 1)
    assert "goes on without its earlier config, summary and step" in machine.output
    assert "cannot be told whether run abc exists" in machine.output
    server.start()
    machine.wait_until_ended(machine.directories()[-1])
    vault = machine.vault()
    assert read_file(vault, RUN, "late.txt") == b"late"
    versions = vault.list_versions(RUN, "history.jsonl")
    texts = [read_file(vault, RUN, "history.jsonl", version.version) for version in versions]
    assert any(text.count(b"\n") == 3 for text in texts)
    vault.close()


# ---------------------------------------------------------------- processes

WORKERS = """
import multiprocessing, os, subprocess, sys, threading, holdfast

def save(name):
    with open(f"{name}.txt", "w") as file:
        file.write(name)
    holdfast.save(f"{name}.txt", policy="now")
    holdfast.log({name: 1})

def own_run(code):
    run = holdfast.init(project="p", id=f"own-{code}")
    run.log({"a": 1})
    if code:
        sys.exit(code)

if __name__ == "__main__":
    run = holdfast.init(project="p", id="abc")
    fork, spawn = (multiprocessing.get_context(method) for method in ("fork", "spawn"))
    jobs = [fork.Process(target=save, args=("forked",)), threading.Thread(target=save, args=("threaded",))]
    jobs += [spawn.Process(target=own_run, args=(code,)) for code in (0, 3)]
    for job in jobs:
        job.start()
    pid = os.fork()
    if pid == 0:
        save("os-forked")
        os._exit(0)
    os.waitpid(pid, 0)
    for job in jobs:
        job.join()
    save("main")
"""


def test_forked_workers_and_threads_save_to_the_run_and_spawned_ones_have_their_own(machine, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(WORKERS)

    assert machine.run(script) == 0, machine.output

    vault = machine.vault()
    saved = {f"{name}.txt" for name in ("forked", "threaded", "os-forked", "main")}
    assert saved <= set(all_files(vault, RUN))
    rows = [json.loads(line) for line in read_file(vault, RUN, "history.jsonl").splitlines()]
    assert sorted(set(rows[0] | rows[1] | rows[2] | rows[3])) == sorted(
        {"_step", "_timestamp", "forked", "threaded", "os-forked", "main"}
    )
    runs = {info.run_id: (info.state, info.exit_code) for info in vault.list_runs("me", "p").runs}
    assert runs == {
        "abc": (RunState.FINISHED, 0),
        "own-0": (RunState.FINISHED, 0),
        "own-3": (RunState.FAILED, 3),
    }
    vault.close()


def test_a_script_whose_workers_are_spawned_begins_one_run_though_each_imports_it(machine, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import multiprocessing, holdfast\n"
        "run = holdfast.init(project='p', id='abc')\n"
        "run.log({'a': 1})\n"
        "def work(): print('WORKED', run.mode, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    job = multiprocessing.get_context('spawn').Process(target=work)\n"
        "    job.start(); job.join()\n"
    )

    assert machine.run(script) == 0, machine.output

    assert "WORKED disabled" in machine.output
    assert "imports the script, so init() begins no run" in machine.output
    assert len(machine.directories()) == 1


def test_a_child_process_with_the_inherited_run_id_does_not_take_the_run_away(machine):
    machine.env["HOLDFAST_RUN_ID"] = "abc"
    child = "import holdfast; run = holdfast.init(project='p'); run.log({'a': 2}); print('CHILD', run.id, flush=True)"
    script = (
        "import subprocess\n"
        "run = holdfast.init(project='p')\n"
        "run.log({'a': 1})\n"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)\n"
        "run.log({'a': 3})\n"
        "run.finish()\n"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)\n"
    )

    assert machine.run(BEGIN + script) == 0, machine.output

    ids = [line.split()[1] for line in machine.output.splitlines() if line.startswith("CHILD")]
    assert ids[0] != "abc"
    assert ids[1] == "abc"
    assert "is that of the process which started this one" in machine.output
    vault = machine.vault()
    assert (vault.get_run(RUN).attempts, vault.get_run(RUN).state) == (2, RunState.FINISHED)
    vault.close()


# ---------------------------------------------------------------- notebooks


@pytest.fixture
def kernel(machine):
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.kernel_cmd = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel(env=machine.env, cwd=str(machine.cwd))
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_cell(client, text):
    said = []

    def take(message):
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])

    reply = client.execute_interactive(text, timeout=60, output_hook=take)
    return reply["content"]["status"], "".join(said)


def test_in_a_notebook_a_cell_that_runs_again_is_a_run_anew_and_a_restart_ends_the_run(machine, kernel):
    manager, client = kernel
    cell = "import holdfast; run = holdfast.init(project='p'); run.log({'a': 1}); print('ID', run.id)"

    first, second = run_cell(client, cell), run_cell(client, cell)
    failed = run_cell(client, "raise ValueError")
    ended = run_cell(client, "import sys; sys.exit(3)")
    assert (first[0], second[0], failed[0]) == ("ok", "ok", "error"), (first, second)
    assert run_cell(client, "run.log({'a': 2}); print(run.is_finished)") == ("ok", "False\n"), ended
    manager.restart_kernel()

    vault = machine.vault()
    wait_until(
        "both runs had ended",
        lambda: [info.state for info in vault.list_runs("me", "p").runs] == [RunState.FINISHED] * 2,
    )
    assert len(machine.directories()) == 2
    vault.close()


def test_what_every_cell_of_a_notebook_prints_is_in_the_runs_log_once(machine, kernel):
    _, client = kernel
    begin = "import holdfast; run = holdfast.init(project='p', mode='offline', settings={'console': 'wrap'}); print(1)"

    said = [run_cell(client, cell)[1] for cell in (begin, "print(2)", "print(3)", "run.finish(); print(4)")]

    [directory] = machine.directories()
    log = (directory.files / "output.log").read_text().splitlines()
    assert [line for line in log if not line.startswith("holdfast: ")] == ["1", "2", "3"]
    assert [text.splitlines()[-1] for text in said] == ["1", "2", "3", "4"]
