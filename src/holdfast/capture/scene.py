"""What a capture process is told of the training process that it captures."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from holdfast.credentials import load_credentials
from holdfast.errors import SettingsError
from holdfast.settings import Secret, Settings, load_settings, setting_fields


@dataclass(frozen=True, slots=True)
class Scene:
    """A training process as it was when its run began."""

    cwd: str | None
    """Its working directory, absolute; None if that was removed."""
    arguments: tuple[str, ...]
    """``sys.argv`` without the program. May hold secrets; see `holdfast.capture.secrets.mask_arguments`."""
    program: str | None
    """The script; None in a notebook or at a prompt."""
    executable: str
    search_path: tuple[str, ...]
    """``sys.path``, absolute."""
    pid: int
    started_at: float
    settings: Settings
    """Those of the run."""
    secrets: tuple[str, ...] = ()
    """Holdfast's own API keys as far as this user has them: they must get into no file."""

    @classmethod
    def here(cls, settings: Settings) -> Self:
        """Return this process as a scene. Cheap: nothing is looked up."""
        try:
            cwd = os.getcwd()  # noqa: PTH109 - a text
        except OSError:  # it was removed
            cwd = None
        program = getattr(sys.modules.get("__main__"), "__file__", None)
        return cls(
            cwd=cwd,
            arguments=tuple(sys.argv[1:]),
            program=None if program is None or cwd is None else os.path.join(cwd, program),  # noqa: PTH118
            executable=sys.executable,
            search_path=tuple(os.path.join(cwd or "/", part) for part in sys.path),  # noqa: PTH118
            pid=os.getpid(),
            started_at=time.time(),
            settings=settings,
        )

    def to_json(self) -> bytes:
        """Return the scene as text for the capture process; without any key."""
        plain = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        plain["settings"] = {
            name: _plain(value)
            for name in setting_fields()
            if (value := getattr(self.settings, name)) is not None and not isinstance(value, Secret)
        }
        return json.dumps({**plain, "secrets": []}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return the scene that `to_json` wrote, with the keys that this user has.

        Raises:
            ValueError: It is no such text.
            SettingsError: It is of another version of Holdfast.
        """
        plain: dict[str, Any] = json.loads(text)
        given: dict[str, Any] = {name: _frozen(value) for name, value in plain.pop("settings").items()}
        settings = load_settings(**given)
        values: dict[str, Any] = {name: _frozen(value) for name, value in plain.items()}
        return cls(**{**values, "settings": settings, "secrets": _own_keys(settings)})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _own_keys(settings: Settings) -> tuple[str, ...]:
    keys = [] if settings.api_key is None else [str(settings.api_key)]
    try:
        keys += [str(credential.api_key) for credential in load_credentials(settings.home).values()]
    except SettingsError:
        return tuple(keys)
    return tuple(dict.fromkeys(keys))
