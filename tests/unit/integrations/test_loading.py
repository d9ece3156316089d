"""The integrations are loaded when they are used, and say what is missing."""

from __future__ import annotations

import subprocess
import sys


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_importing_holdfast_loads_no_integration():
    done = run("import sys, holdfast; print([name for name in sys.modules if 'integrations' in name])")

    assert done.stdout == "[]\n"


def test_without_keras_the_error_says_how_to_install_it():
    done = run("""
import sys, holdfast
sys.modules["keras"] = None
try:
    holdfast.keras
except ImportError as exc:
    print(type(exc).__name__, exc)
""")
    assert done.stdout == (
        "MissingPackageError holdfast.keras needs Keras 3. Install it: pip install 'holdfast[keras]'\n"
    )


def test_without_tensorboard_a_warning_says_how_to_install_it_and_the_run_goes_on(tmp_path):
    done = run(f"""
import os, sys, holdfast
from importlib.machinery import PathFinder
os.chdir({str(tmp_path)!r})
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.startswith("tensorboard") else find(name, *rest)
run = holdfast.init(mode="offline", sync_tensorboard=True)
run.log({{"loss": 1}})
run.finish()
print("done")
""")
    assert done.stdout == "done\n"
    assert (
        "No TensorBoard is there to save from. Install it: pip install 'holdfast[tensorboard]'" in done.stderr
    )
