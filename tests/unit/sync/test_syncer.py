"""The syncer as a process: killed, stopped, interrupted, and how fast it is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdfast.syncer
from holdfast.errors import UnauthorizedError
from holdfast.names import RunPath
from holdfast.rundir.facts import Opened, Refused, Registered
from holdfast.rundir.lease import lease_is_live
from holdfast.settings import load_settings
from holdfast.vault import open_vault_at
from tests.unit.sync.trainer import Trainer, wait_until
from tests.unit.sync.vaults import read_back

RUN = RunPath("me", "mnist", "a1b2c3d4")


class Syncer:
    """A syncer process."""

    def __init__(self, trainer: Trainer) -> None:
        source = Path(holdfast.syncer.__file__).parents[1]
        path = os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.syncer", str(trainer.directory.path)],
            env={**os.environ, "HOLDFAST_HOME": str(trainer.home), "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def end(self, seconds: float = 30) -> tuple[int, str]:
        errors = self.process.communicate(timeout=seconds)[1]
        return self.process.returncode, errors.decode()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def trainer(tmp_path):
    return Trainer(tmp_path)


@pytest.fixture
def start(trainer):
    syncers = []

    def start() -> Syncer:
        syncers.append(Syncer(trainer))
        return syncers[-1]

    yield start
    for syncer in syncers:
        if syncer.process.poll() is None:
            syncer.kill()


def vault_of(trainer):
    return open_vault_at(trainer.home / "vault", user="me")


@pytest.mark.e2e
def test_a_syncer_that_is_killed_again_and_again_stores_everything_once_and_in_order(trainer, start):
    chance = random.Random(7)
    states = []
    for number in range(12):
        syncer = start()
        for step in range(4):
            states.append(b"state %d.%d" % (number, step))
            trainer.write("part", states[-1]).replace(trainer.sources / "model.pt")
            trainer.save("model.pt", "now", pin="link")
            trainer.write(f"live-{number}-{step}", states[-1])
            trainer.save(f"live-{number}-{step}")
            time.sleep(chance.uniform(0, 0.05))
        time.sleep(chance.uniform(0.2, 1.2))
        syncer.kill()
    trainer.finish()
    code, errors = start().end()

    assert code == 0, errors
    vault = vault_of(trainer)
    assert [run.run_id for run in vault.list_runs("me", "mnist").runs] == [RUN.run_id]
    history = [
        read_back(vault, "model.pt", info.version) for info in reversed(vault.list_versions(RUN, "model.pt"))
    ]
    assert history == states
    assert len(vault.list_files(RUN).files) == 1 + 48
    assert not trainer.pending.exists()
    assert list(trainer.directory.pins.iterdir()) == []
    vault.close()


def test_of_several_syncers_of_one_directory_one_follows_and_the_others_leave_it(trainer, start):
    syncers = [start() for _ in range(4)]
    wait_until("the run was open", lambda: trainer.said(Registered))
    wait_until("three had left", lambda: sum(syncer.process.poll() == 5 for syncer in syncers) == 3)
    trainer.finish()

    assert sorted(syncer.end()[0] for syncer in syncers) == [0, 5, 5, 5]
    assert len(trainer.said(Registered)) == 1


def test_ctrl_c_and_the_end_of_the_terminal_do_not_end_it_but_sigterm_does_soon(trainer, start):
    syncer = start()
    wait_until("the run was open", lambda: trainer.said(Registered))
    syncer.process.send_signal(signal.SIGINT)
    syncer.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert syncer.process.poll() is None
    began = time.monotonic()
    syncer.process.send_signal(signal.SIGTERM)
    syncer.end()

    assert time.monotonic() - began < 3
    assert not lease_is_live(trainer.directory)
    assert trainer.pending.exists()


def test_a_folder_that_is_no_run_directory_is_an_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.syncer", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 4
    assert "is not a run directory" in done.stderr


def test_a_run_for_a_server_without_a_key_is_refused_in_the_sync_log(tmp_path):
    trainer = Trainer(tmp_path, base_url="http://127.0.0.1:9")
    syncer = Syncer(trainer)

    assert syncer.end()[0] == UnauthorizedError.exit_code
    assert trainer.said(Refused)[0].code == "unauthorized"
    assert not lease_is_live(trainer.directory)


def test_a_key_for_another_server_is_not_sent(tmp_path):
    opened: Opened = Trainer(tmp_path, base_url="http://run.example").opened
    environ = {"HOLDFAST_API_KEY": "secret", "HOLDFAST_HOME": str(tmp_path)}

    same = load_settings(environ)
    other = load_settings({**environ, "HOLDFAST_BASE_URL": "http://other.example"})

    assert holdfast.syncer.settings_for(opened, same).api_key == "secret"
    assert holdfast.syncer.settings_for(opened, other).api_key is None
    assert holdfast.syncer.settings_for(opened, other).base_url == "http://run.example"
