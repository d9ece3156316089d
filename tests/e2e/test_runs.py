"""Names, resuming and processes of runs, on the embedded vault and on a real server."""

from __future__ import annotations

import signal

import pytest

from holdfast.names import RunPath
from holdfast.protocol.messages import RunState
from tests.e2e.harness import Machine

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
