"""Files of known formats, made small enough to mutate by the thousand."""

from __future__ import annotations

import io
import json
import random
import zipfile

NOISE = random.Random(5).randbytes(3 << 20)


def read_from(data: bytes):
    """A reader as the syncer has it: short only at the end of the file."""

    def read_at(offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length <= 64 << 20
        return data[offset : offset + length]

    return read_at


def safetensors(tensors: list[tuple[str, int]], *, header: dict | None = None, gap: int = 0) -> bytes:
    """A safetensors file of tensors given as dtype and length in bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for index, (dtype, length) in enumerate(tensors):
        end += gap
        entries[f"t{index}"] = {"dtype": dtype, "shape": [length], "data_offsets": [end, end + length]}
        end += length
    text = json.dumps(entries | (header or {})).encode()
    return len(text).to_bytes(8, "little") + text + (NOISE * (end // len(NOISE) + 1))[:end]


def archive(
    records: list[tuple[str, int]], *, method: int = zipfile.ZIP_STORED, zip64: bool = False
) -> bytes:
    """A zip archive of records given as name and length."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        for name, length in records:
            with zipped.open(name, "w", force_zip64=zip64) as record:
                record.write(NOISE[:length])
    return file.getvalue()


def event(payload: bytes) -> bytes:
    """An event of TensorBoard's files, its length checksum computed bit by bit."""
    length = len(payload).to_bytes(8, "little")
    crc = 0xFFFFFFFF
    for byte in length:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return length + masked.to_bytes(4, "little") + payload + bytes(4)
