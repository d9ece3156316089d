"""The user's API keys: one JSON file, ``HOLDFAST_HOME/credentials``, mode 0600, keyed by server URL."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.errors import SettingsError
from holdfast.settings import Secret

_FILE = "credentials"


@dataclass(frozen=True, slots=True)
class Credential:
    """What `holdfast login` keeps of one server."""

    api_key: Secret
    entity: str
    """The entity that runs go to when none is named."""


def server_url(text: str) -> str:
    """Return a server's URL in its one form: lower-case scheme and host, no slash at the end.

    Raises:
        SettingsError: It is not an ``http`` or ``https`` URL with a host.
    """
    bad = SettingsError(
        f"{text!r} is not the URL of a server.", hint="Write http://HOST:PORT or https://HOST."
    )
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise bad from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise bad
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def load_credentials(home: Path) -> dict[str, Credential]:
    """Return all stored credentials by URL; none when there is no file.

    Raises:
        SettingsError: The file cannot be read, or is damaged.
    """
    file = home / _FILE
    try:
        stored: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return {
            url: Credential(Secret(entry["api_key"]), str(entry["entity"])) for url, entry in stored.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise SettingsError(
            f"The file {file} cannot be read: {exc}.", hint="Correct it, or remove it and log in again."
        ) from exc


def load_credential(home: Path, url: str) -> Credential | None:
    """Return the credential for one server, or None. Raises `SettingsError` as `load_credentials` does."""
    return load_credentials(home).get(server_url(url))


def store_credential(home: Path, url: str, credential: Credential) -> None:
    """Add or replace the credential of one server. The file is replaced as a whole and only its owner can read it."""
    _write(home, {**load_credentials(home), server_url(url): credential})


def forget_credential(home: Path, url: str) -> bool:
    """Remove the credential of one server; False if there was none."""
    stored = load_credentials(home)
    if stored.pop(server_url(url), None) is None:
        return False
    _write(home, stored)
    return True


def _write(home: Path, stored: dict[str, Credential]) -> None:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = home / f"{_FILE}.{secrets.token_hex(4)}.part"
    text = json.dumps(
        {name: {"api_key": str(entry.api_key), "entity": entry.entity} for name, entry in stored.items()},
        indent=2,
    )
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(home / _FILE)
