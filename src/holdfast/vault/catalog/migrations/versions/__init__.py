"""Migrations of the catalog's schema."""

from __future__ import annotations
