"""Real services for the tests and benchmarks, started on loopback ports of their own and stopped at the end."""

from __future__ import annotations
