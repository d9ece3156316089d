from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture
def server(shell, tmp_path):
    """A real server with a vault and a home of its own; gives its URL and a valid key."""
    home = tmp_path / "server-home"
    command = [sys.executable, "-m", "holdfast", "server", "--data", str(tmp_path / "data"), "--port", "0"]
    process = subprocess.Popen(
        command,
        env={**shell.env, "HOLDFAST_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    url = re.search(r"at (http://\S+)", process.stdout.readline())[1]
    yield url, json.loads((home / "credentials").read_text())[url]["api_key"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    process.stdout.close()


def test_login_checks_the_key_keeps_it_and_is_used_from_then_on(shell, server):
    url, key = server

    said = shell("login", url, stdin=key + "\n").stderr

    assert "Runs go to" in said
    assert key not in said
    assert stat.S_IMODE((shell.home / "credentials").stat().st_mode) == 0o600
    assert f"base_url = {url}" in (shell.home / "settings").read_text()
    assert shell.json("ls") == []


def test_a_wrong_key_is_refused_and_nothing_is_kept(shell, server):
    url, key = server

    done = shell("login", url, "--key", key[:-1] + "x", code=3)

    assert done.stderr.startswith("error: ")
    assert not (shell.home / "credentials").exists()
    assert not (shell.home / "settings").exists()


def test_without_a_login_the_error_says_what_to_do(shell):
    shell.env["HOLDFAST_BASE_URL"] = "http://127.0.0.1:9"

    done = shell("ls", code=3)

    assert done.stderr.splitlines()[0] == "error: You are not logged in to http://127.0.0.1:9."
    assert "holdfast login http://127.0.0.1:9" in done.stderr


def test_a_server_that_is_not_there_is_code_7(shell):
    assert shell("login", "http://127.0.0.1:9", "--key", "x", code=7).stderr.startswith("error: ")


def test_an_offline_run_goes_to_the_server_that_is_configured_when_it_is_synced(shell, server):
    url, key = server
    shell.offline_run({"model.pt": b"content"})
    shell("login", url, "--key", key)

    shell("sync")

    assert shell("cat", "me/mnist/off1off1", "model.pt").stdout == "content"
    assert len(shell.json("ls", "-v", "me/mnist/off1off1")) == 1
    assert not (shell.home / "vault").exists()


def test_logout_forgets_the_key_and_runs_go_to_the_embedded_vault_again(shell, server):
    url, key = server
    shell("login", url, "--key", key)

    assert "forgotten" in shell("logout").stderr
    assert "No server is configured" in shell("logout", code=2).stderr
    assert "no API key" in shell("logout", url).stderr
    assert shell("ls").returncode == 0
