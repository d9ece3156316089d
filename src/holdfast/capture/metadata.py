"""``metadata.json``: where and how a run was started. The environment is never in it."""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from holdfast.capture import METADATA
from holdfast.capture.repository import find_repository
from holdfast.capture.scene import Scene
from holdfast.capture.secrets import mask_arguments, mask_text
from holdfast.capture.shelf import Shelf

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_TIMEOUT_S = 10.0


def capture(scene: Scene, shelf: Shelf) -> None:
    """Capture ``metadata.json``."""
    text = json.dumps(describe(scene), indent=1) + "\n"
    for secret in scene.secrets:
        text = text.replace(secret, "***")
    shelf.put(METADATA, text)


def describe(scene: Scene) -> dict[str, Any]:
    """Return what is worth knowing of a training process and its machine, secrets masked."""
    import psutil

    folder = None if scene.settings.disable_git else scene.cwd
    repository = None if folder is None else find_repository(folder)
    program = None if scene.program is None else mask_text(scene.program, scene.secrets)
    return {
        "started_at": datetime.fromtimestamp(scene.started_at, UTC).isoformat(),
        "host": platform.node(),
        "user": _user(),
        "os": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_count": psutil.cpu_count(logical=False),
        "cpu_count_logical": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": gpu_names(),
        "python": platform.python_version(),
        "python_implementation": platform.python_implementation(),
        "executable": scene.executable,
        "program": program,
        "args": mask_arguments(scene.arguments, scene.secrets),
        "cwd": scene.cwd,
        "pid": scene.pid,
        "git": None if repository is None else dataclasses.asdict(repository),
        "holdfast": _holdfast_version(),
    }


def gpu_names() -> list[str]:
    """Return the names of the NVIDIA GPUs of this machine, one for each."""
    found = []
    for path in sorted(_NVIDIA.glob("*/information")):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found or _asked_gpu_names()


def _asked_gpu_names() -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run(
            [command, "--query-gpu=name", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return None


def _cpu_name() -> str | None:
    if sys.platform != "linux":
        return platform.processor() or None
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _holdfast_version() -> str | None:
    try:
        return version("holdfast")
    except PackageNotFoundError:
        return None
