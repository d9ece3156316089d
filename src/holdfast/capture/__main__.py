"""The capture process: ``python -m holdfast.capture DIR``, with a `Scene` as JSON on standard input.

It outlives the training process, Ctrl-C and the terminal, and gives way to the training (`nice`). What it has to say goes
to standard error, which is ``logs/capture.log``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from holdfast.capture import code, metadata, requirements
from holdfast.capture.scene import Scene
from holdfast.capture.shelf import Shelf
from holdfast.errors import HoldfastError
from holdfast.rundir.capturing import CaptureState, read_capture, write_capture
from holdfast.rundir.layout import RunDirectory

log = logging.getLogger(__name__)

NICENESS = 10

Step = Callable[[Scene, Shelf], None]
"""Captures one thing. May raise anything: that is logged, and is the end of this step alone."""

STEPS: dict[str, Step] = {
    "metadata": metadata.capture,
    "requirements": requirements.capture,
    "code": code.capture,
}


def capture(directory: RunDirectory, scene: Scene) -> CaptureState:
    """Take all steps that ``capture.json`` has waiting, and return what came of them."""
    state = (read_capture(directory) or CaptureState.begun(())).taken_over()
    _write(directory, state)
    opened = directory.opened()
    assert opened is not None  # it is the first that is written there
    for name in state.steps:
        state = state.with_step(name, _take(name, scene, Shelf(directory, opened)))
        _write(directory, state)
    return state


def _take(name: str, scene: Scene, shelf: Shelf) -> BaseException | None:
    try:
        STEPS[name](scene, shelf)
    except HoldfastError as exc:
        log.warning("%s is not captured: %s", name, exc)
        return exc
    except Exception as exc:  # the edge of a step: whatever happens in it spoils no other
        log.exception("%s is not captured.", name)
        return exc
    log.info("%s is captured.", name)
    return None


def _write(directory: RunDirectory, state: CaptureState) -> None:
    try:
        write_capture(directory, state)
    except OSError as exc:  # a full disk; nobody waits for long
        log.warning("%s cannot be written: %s", directory.capture, exc)


def main(arguments: list[str]) -> int:
    """Run the capture process; return its exit code."""
    if len(arguments) != 1:
        print("usage: python -m holdfast.capture DIR < SCENE", file=sys.stderr)  # noqa: T201 - not a log line
        return 2
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s"
    )
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    directory = RunDirectory(Path(arguments[0]).absolute())
    state = capture(directory, Scene.from_json(sys.stdin.buffer.read()))
    return 1 if state.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
