"""A model that is being written is not there yet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.integrations.whole import whole_file


@pytest.fixture
def target(tmp_path):
    run_dir = tmp_path / "run-1" / "files"
    run_dir.mkdir(parents=True)
    return run_dir / "model-best.h5"


def test_the_file_gets_its_place_when_it_is_whole(target):
    with whole_file(target) as part:
        Path(part).write_bytes(b"half")
        assert list(target.parent.iterdir()) == []
        Path(part).write_bytes(b"whole")

    assert target.read_bytes() == b"whole"
    assert [path.name for path in target.parent.parent.iterdir()] == ["files"]


def test_what_fails_leaves_the_file_as_it_was_and_nothing_behind(target):
    target.write_bytes(b"before")

    def write(part: str) -> None:
        Path(part).write_bytes(b"half")
        raise KeyError(part)

    with pytest.raises(KeyError), whole_file(target) as part:
        write(part)

    assert target.read_bytes() == b"before"
    assert [path.name for path in target.parent.parent.iterdir()] == ["files"]


def test_a_link_in_its_place_is_replaced_and_not_written_through(target, tmp_path):
    source = tmp_path / "own.h5"
    source.write_bytes(b"the user's")
    target.symlink_to(source)

    with whole_file(target) as part:
        Path(part).write_bytes(b"whole")

    assert source.read_bytes() == b"the user's"
    assert target.read_bytes() == b"whole"


def test_a_kill_in_the_middle_leaves_nothing_in_the_run_dir(target):
    script = f"""
import os, signal
from pathlib import Path
from holdfast.integrations.whole import whole_file
with whole_file(Path({os.fspath(target)!r})) as part:
    Path(part).write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)

    assert done.returncode == -signal.SIGKILL
    assert list(target.parent.iterdir()) == []
