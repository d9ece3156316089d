"""For Keras 3: ``model.fit(..., callbacks=[holdfast.keras.HoldfastCallback()])``."""

from __future__ import annotations

from holdfast.integrations.keras import HoldfastCallback

__all__ = ["HoldfastCallback"]
