"""Holdfast keeps the files of a training run while it runs, and gives them back, byte for byte, on any machine.

    import holdfast

    run = holdfast.init(project="mnist")
    holdfast.save("model.pt")
    ...
    file = holdfast.restore("model.pt", run_path="me/mnist/a1b2c3d4")

What is public is in ``__all__``, and ``holdfast.keras`` and ``holdfast.tensorboard``. Everything is loaded when it is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast._facade import finish, init, log, login, logout, restore, save
    from holdfast.api import Api
    from holdfast.errors import HoldfastError
    from holdfast.settings import Settings
    from holdfast.training.ending import FinishReport
    from holdfast.training.records import Config, Summary
    from holdfast.training.run import Run
    from holdfast.training.saved import SavedFileHandle, SavedFiles

    __version__: str
    config: Config
    run: Run | None
    summary: Summary

__all__ = [
    "Api",
    "FinishReport",
    "HoldfastError",
    "Run",
    "SavedFileHandle",
    "SavedFiles",
    "Settings",
    "__version__",
    "config",
    "finish",
    "init",
    "log",
    "login",
    "logout",
    "restore",
    "run",
    "save",
    "summary",
]

_FACADE = "holdfast._facade"
_HOMES = {
    "Api": "holdfast.api.client",
    "FinishReport": "holdfast.training.ending",
    "HoldfastError": "holdfast.errors",
    "Run": "holdfast.training.run",
    "SavedFileHandle": "holdfast.training.saved",
    "SavedFiles": "holdfast.training.saved",
    "Settings": "holdfast.settings",
    "finish": _FACADE,
    "init": _FACADE,
    "log": _FACADE,
    "login": _FACADE,
    "logout": _FACADE,
    "restore": _FACADE,
    "save": _FACADE,
}
_OF_THE_CURRENT_RUN = ("config", "run", "summary")
_INTEGRATIONS = ("keras", "tensorboard")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _OF_THE_CURRENT_RUN:
        return getattr(import_module(_FACADE), f"current_{name}")()
    if name in _INTEGRATIONS:
        return import_module(f"holdfast.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("holdfast")
    if name.startswith("_"):
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    return import_module(_FACADE).absent(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
