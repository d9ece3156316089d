"""The structure of a safetensors file: u64 length of a JSON header, the header, the tensors' bytes."""

from __future__ import annotations

import json
from typing import NamedTuple, cast

from holdfast.content.pieces import Plan, PlannedSplitter, ReadAt
from holdfast.errors import MalformedContentError

# The format allows 100 MB; parsing that much JSON would take a syncer beyond its memory.
_MAX_HEADER_BYTES = 16 << 20
_LENGTH_BYTES = 8
_WORD_OF_DTYPE = {
    "F64": 8, "I64": 8, "U64": 8,
    "F32": 4, "I32": 4, "U32": 4, "C64": 4,
    "BF16": 2, "F16": 2, "I16": 2, "U16": 2,
}  # fmt: skip


class Tensor(NamedTuple):
    """Where a tensor lies in the file, and the size of its numbers."""

    begin: int
    end: int
    word: int


class Layout(NamedTuple):
    """Where the header ends, and the tensors in order of their bytes."""

    header_end: int
    tensors: list[Tensor]

    @property
    def end(self) -> int:
        """Where the file should end."""
        return max((tensor.end for tensor in self.tensors), default=self.header_end)


def read_layout(size: int, read_at: ReadAt) -> Layout:
    """Return the layout that the header describes, which may lie beyond a cut file's end.

    Raises:
        MalformedContentError: The beginning is not that of a safetensors file, or tensors overlap.
    """
    head = read_at(0, _LENGTH_BYTES + 1)
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    header_end = _LENGTH_BYTES + length
    if head[_LENGTH_BYTES:] != b"{" or length > _MAX_HEADER_BYTES or header_end > size:
        raise MalformedContentError("This is not a safetensors file.")
    try:
        header = json.loads(read_at(_LENGTH_BYTES, length))
        tensors = sorted(
            _tensor(entry, header_end) for name, entry in header.items() if name != "__metadata__"
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
        raise MalformedContentError("A safetensors header cannot be parsed.") from exc
    end = header_end
    for tensor in tensors:
        if not end <= tensor.begin <= tensor.end:
            raise MalformedContentError("The tensors of a safetensors file overlap.")
        end = tensor.end
    return Layout(header_end, tensors)


def _tensor(entry: dict[str, object], header_end: int) -> Tensor:
    begin, end = cast("list[object]", entry["data_offsets"])
    if not isinstance(begin, int) or not isinstance(end, int):
        raise TypeError
    return Tensor(header_end + begin, header_end + end, _WORD_OF_DTYPE.get(str(entry["dtype"]), 1))


def safetensors_splitter(size: int, read_at: ReadAt) -> PlannedSplitter:
    """Return ``st1`` for this file. Raises `MalformedContentError` if it is no safetensors file."""
    layout = read_layout(size, read_at)
    if layout.end > size:
        raise MalformedContentError("A safetensors file is cut.")
    plan = Plan()
    plan.add(layout.header_end)
    plan.close()
    for tensor in layout.tensors:
        if tensor.begin > plan.end:
            plan.add(tensor.begin - plan.end)
        plan.add(tensor.end - tensor.begin, tensor.word)
    return plan.splitter("st1")
