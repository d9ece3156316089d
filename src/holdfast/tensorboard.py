"""For TensorBoard: ``holdfast.tensorboard.patch()``, or ``holdfast.init(sync_tensorboard=True)``."""

from __future__ import annotations

from holdfast.integrations.tensorboard import patch

__all__ = ["patch"]
