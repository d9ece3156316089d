"""``requirements.txt``: the distributions that the training process can import, as ``pip freeze`` lists them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from typing import Any
from urllib.parse import unquote, urlsplit

from holdfast.capture import REQUIREMENTS
from holdfast.capture.scene import Scene
from holdfast.capture.secrets import without_credentials
from holdfast.capture.shelf import Shelf


def capture(scene: Scene, shelf: Shelf) -> None:
    """Capture ``requirements.txt``."""
    lines = requirement_lines(distributions(path=list(scene.search_path)))
    shelf.put(REQUIREMENTS, "".join(f"{line}\n" for line in lines))


def requirement_lines(found: Iterable[Distribution]) -> list[str]:
    """Return one requirement a distribution, sorted by name; of several of one name the first, which Python imports."""
    lines: dict[str, str] = {}
    for distribution in found:
        name = distribution.metadata["Name"]
        if name:  # else the remains of an installation that was broken off
            lines.setdefault(_normal(name), _line(name, distribution))
    return [lines[name] for name in sorted(lines)]


def _line(name: str, distribution: Distribution) -> str:
    text = distribution.read_text("direct_url.json")
    try:
        direct = json.loads(text) if text else None
    except ValueError:
        direct = None
    if not isinstance(direct, dict) or not isinstance(direct.get("url"), str):
        return f"{name}=={distribution.version}"
    return "\n".join(_direct(name, distribution.version, direct))


def _direct(name: str, version: str, direct: dict[str, Any]) -> Iterator[str]:
    url = without_credentials(direct["url"])
    if direct.get("dir_info", {}).get("editable"):
        yield f"# Editable install ({name}=={version})"
        yield f"-e {unquote(urlsplit(url).path) if url.startswith('file:') else url}"
        return
    vcs, archive = direct.get("vcs_info"), direct.get("archive_info")
    fragments = []
    if vcs:
        url = f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}"
    elif archive and archive.get("hash"):
        fragments.append(archive["hash"])
    if direct.get("subdirectory"):
        fragments.append(f"subdirectory={direct['subdirectory']}")
    yield f"{name} @ {url}{'#' if fragments else ''}{'&'.join(fragments)}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
