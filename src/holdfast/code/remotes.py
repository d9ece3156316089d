"""The remote of a repository: which one, and its URL without secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path

from holdfast.code.git import Git
from holdfast.code.state import Remote

_WITH_SCHEME = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*(?:::[A-Za-z][A-Za-z0-9+.\-]*)?)://(?P<rest>.*)", re.DOTALL
)
_SCP = re.compile(r"(?P<user>[^/@:]*)(?::[^/@]*)?@(?P<rest>[^/]+:.*)", re.DOTALL)


def without_secrets(url: str) -> str:
    """Return the URL of a remote without password, token and query; the user name stays where it is no secret (ssh)."""
    found = _WITH_SCHEME.fullmatch(url)
    if found is not None:
        place, slash, path = found["rest"].partition("/")
        users, _, host = place.rpartition("@")
        user = users.split(":", 1)[0] if found["scheme"].lower().endswith("ssh") else ""
        path = re.split(r"[?#]", path, maxsplit=1)[0]
        return f"{found['scheme']}://{user}{'@' if user else ''}{host}{slash}{path}"
    scp = _SCP.fullmatch(url)
    return f"{scp['user']}@{scp['rest']}" if scp is not None else url


def find_remote(git: Git, top: Path, branch: str | None) -> Remote | None:
    """Return the remote that a branch belongs to: that of its upstream, else ``origin``, else the first."""
    names = git.text("remote").split("\n") if git.ask("remote") else []
    if not names:
        return None
    of_branch = None if branch is None else git.ask("config", "--get", f"branch.{branch}.remote")
    name = next((item for item in (of_branch, "origin") if item in names), names[0])
    assert name is not None
    url = git.ask("remote", "get-url", name)
    if url is None:
        return None
    return Remote(name, without_secrets(_absolute(url, top)))


def same_place(one: str, other: str) -> bool:
    """Tell whether two URLs mean the same remote, written differently (https or ssh, with or without ``.git``)."""
    return _essence(one) == _essence(other)


def _essence(url: str) -> str:
    bare = without_secrets(url)
    found = _WITH_SCHEME.fullmatch(bare)
    if found is not None:
        host, _, path = found["rest"].rpartition("@")[2].partition("/")
        bare = f"{re.sub(r':[0-9]+$', '', host).lower()}/{path.lstrip('/')}"
    elif _SCP.fullmatch(bare):
        host, _, path = bare.rpartition("@")[2].partition(":")
        bare = f"{host.lower()}/{path.lstrip('/')}"
    return bare.rstrip("/").removesuffix(".git")


def _absolute(url: str, top: Path) -> str:
    """Return the URL; a relative path of this disk as an absolute one."""
    if "://" in url or "::" in url or url.startswith("/"):
        return url
    if ":" in url.split("/", 1)[0]:  # host:path
        return url
    return os.path.normpath(top / url)
