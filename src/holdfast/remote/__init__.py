"""A vault on another machine, over HTTP: `RemoteVault`.

It is loaded on first use: it needs pydantic, which a training process that only saves never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.remote.vault import RemoteVault

__all__ = ["RemoteVault"]


def __getattr__(name: str) -> Any:
    if name == "RemoteVault":
        from holdfast.remote.vault import RemoteVault

        return RemoteVault
    raise AttributeError(name)
