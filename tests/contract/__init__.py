"""The suites over the Vault and Blobs Protocols, run on every implementation."""

from __future__ import annotations
