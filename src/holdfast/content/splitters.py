"""The registry of splitters: where each kind of file is cut into chunks.

A splitter only places cuts, so a wrong guess costs dedup and never correctness. The name of a splitter stands
for exactly its cuts: whoever changes them gives it a new name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from pyfastcdc import FastCDC

from holdfast.content.codecs import MAX_CHUNK_BYTES
from holdfast.content.hashing import chunk_id
from holdfast.content.manifests import ChunkRef
from holdfast.content.pieces import Piece, Plan, ReadAt, Splitter
from holdfast.content.safetensors import safetensors_splitter
from holdfast.content.torchzip import zip_splitter
from holdfast.errors import MalformedContentError

__all__ = [
    "SPLITTERS",
    "CdcSplitter",
    "Piece",
    "ReadAt",
    "Splitter",
    "TailSplitter",
    "WholeSplitter",
    "choose_splitter",
]

_WHOLE_BYTES = 64 << 10
_CDC_MIN_BYTES = 64 << 10
_CDC_AVERAGE_BYTES = 256 << 10
_CDC_MAX_BYTES = 1 << 20


class WholeSplitter:
    """Keep a small file whole."""

    name = "whole1"

    def cut(self, window: memoryview, *, offset: int, final: bool) -> list[Piece]:  # noqa: ARG002
        """Return pieces; see `Splitter`."""
        whole, rest = divmod(len(window), MAX_CHUNK_BYTES)
        pieces = [Piece(MAX_CHUNK_BYTES)] * whole
        return [*pieces, Piece(rest)] if final and rest else pieces


class CdcSplitter:
    """Cut where the content says so, so that insertions move cuts along (FastCDC, normalised level 2)."""

    name = "cdc1"

    def __init__(self) -> None:
        self._cdc = FastCDC(
            _CDC_AVERAGE_BYTES,
            min_size=_CDC_MIN_BYTES,
            max_size=_CDC_MAX_BYTES,
            normalized_chunking=2,
        )

    def cut(self, window: memoryview, *, offset: int, final: bool) -> list[Piece]:  # noqa: ARG002
        """Return pieces; see `Splitter`."""
        pieces: list[Piece] = []
        for chunk in self._cdc.cut_buf(window):
            if not final and chunk.offset + _CDC_MAX_BYTES > len(window):
                # With fewer bytes in sight than a chunk can have, the cut would depend on the window.
                break
            pieces.append(Piece(chunk.length))
        return pieces


class TailSplitter:
    """Keep the chunks of the version before for as long as they match; cut what is new.

    After the last chunk of the version before, new bytes become pieces of at most 1 MiB. From the first
    chunk that does not match, the rest is cut like ``cdc1``. The pieces that match carry their id.

    Args:
        refs: The chunks of the version before.
        domain_key: The key of the dedup domain.
    """

    name = "tail1"

    def __init__(self, refs: Sequence[ChunkRef], domain_key: bytes) -> None:
        self._refs = refs
        self._key = domain_key
        self._matched = 0
        self._rest: Splitter | None = None

    def cut(self, window: memoryview, *, offset: int, final: bool) -> list[Piece]:
        """Return pieces; see `Splitter`."""
        pieces: list[Piece] = []
        begin = 0
        while self._rest is None:
            if self._matched == len(self._refs):
                plan = Plan()
                plan.add(offset + begin)
                self._rest = plan.splitter(self.name)
                break
            ref = self._refs[self._matched]
            end = begin + ref.raw_len
            if end > len(window) and not final:
                return pieces
            if end > len(window) or chunk_id(self._key, window[begin:end]) != ref.id:
                self._rest = CdcSplitter()
                break
            pieces.append(Piece(ref.raw_len, id=ref.id))
            self._matched += 1
            begin = end
        return pieces + self._rest.cut(window[begin:], offset=offset + begin, final=final)


def choose_splitter(size: int, read_at: ReadAt) -> Splitter:
    """Return the first splitter of `SPLITTERS` that this file is for.

    Reads a few structures of the file and believes none of them: what cannot be parsed is cut by content.
    """
    *for_one_format, for_all = SPLITTERS.values()
    for make in for_one_format:
        try:
            return make(size, read_at)
        except MalformedContentError:
            continue
    return for_all(size, read_at)


def _make_whole(size: int, read_at: ReadAt) -> Splitter:  # noqa: ARG001
    if size > _WHOLE_BYTES:
        raise MalformedContentError("The file is not small.")
    return WholeSplitter()


def _make_cdc(size: int, read_at: ReadAt) -> Splitter:  # noqa: ARG001
    return CdcSplitter()


_Make: TypeAlias = Callable[[int, ReadAt], Splitter]

SPLITTERS: Mapping[str, _Make] = MappingProxyType(
    {
        WholeSplitter.name: _make_whole,
        "st1": safetensors_splitter,
        "ptz1": zip_splitter,
        CdcSplitter.name: _make_cdc,
    }
)
"""What makes each splitter from a file's size and reader, by name, in the order in which they are tried.

One that is not for the file raises `MalformedContentError`. `TailSplitter` is for who has the version before.
"""
