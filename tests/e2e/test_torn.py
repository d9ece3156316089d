"""A file that is rewritten in a loop while it is synced: each version equals a state that existed (I7)."""

from __future__ import annotations

import pytest

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, all_versions, sha


def play(machine, way, seconds):
    if way == "torch":
        pytest.importorskip("torch", reason="`make test` installs torch; the quick tests do not need it")
    states = machine.base / "states.txt"
    assert machine.run("rewrites.py", way, str(seconds), str(states), timeout=seconds + 60) == 0, (
        machine.output
    )
    [directory] = machine.directories()
    assert machine.wait_until_ended(directory).missing == {}
    existed = set(states.read_text().split())
    vault = machine.vault()
    own = {"history.jsonl", "config.yaml", "summary.json"}
    versions = [
        item for item in all_versions(vault, RunPath(ENTITY, "rewrites", way)) if item[0].name not in own
    ]
    torn = [info.version for info, data in versions if sha(data) not in existed]
    assert torn == []
    assert len(versions) >= 2, "nothing was synced while it was written"
    vault.close()


@pytest.mark.parametrize("way", ["torch", "open", "append"])
def test_each_version_is_a_state_that_existed(machine, way):
    play(machine, way, 12)


@pytest.mark.soak
@pytest.mark.parametrize("way", ["torch", "open", "append"])
def test_each_version_is_a_state_that_existed_for_ten_minutes(machine, way):
    play(machine, way, 600)
