"""The catalog: all metadata, in SQL. Nothing else speaks SQL."""

from __future__ import annotations
