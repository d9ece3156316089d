"""Pure functions over bytes: cuts, hashes, codecs, packs and manifests. No file, clock or network.

The formats are described in `docs/internals/formats.md`.
"""
