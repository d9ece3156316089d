"""What ``import holdfast`` offers."""

from __future__ import annotations

import holdfast


def test_everything_public_is_there_and_sorted():
    assert list(holdfast.__all__) == sorted(holdfast.__all__)
    for name in set(holdfast.__all__) - {"config", "summary"}:
        getattr(holdfast, name)


def test_copying_tools_may_ask_for_anything():
    assert not hasattr(holdfast, "sweep")
    assert not hasattr(holdfast, "__wrapped__")
