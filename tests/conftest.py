"""What every test stands on: a clean environment, and hypothesis without deadlines (machines are noisy)."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("holdfast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("holdfast")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No test sees the user's settings, vault or credentials; no process that it starts is measured.

    What belongs to a run by itself is captured in the tests of just that; elsewhere the test's files are all there are.
    """
    for name in list(os.environ):
        if name.startswith(("HOLDFAST_", "COVERAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "holdfast-home"))
    monkeypatch.setenv("HOLDFAST_CAPTURE", "none")
    monkeypatch.setenv("HOLDFAST_CONSOLE", "off")
