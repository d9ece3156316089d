from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.content.formats import end_check, is_line_text, last_record_end

from .samples import NOISE, archive, event, read_from, safetensors

numpy = pytest.importorskip("numpy")


def npy(array) -> bytes:
    file = io.BytesIO()
    numpy.save(file, array)
    return file.getvalue()


def hdf5(version: int, end: int) -> bytes:
    """The first bytes of an HDF5 file whose superblock has this end-of-file address."""
    magic = b"\x89HDF\r\n\x1a\n" + bytes([version])
    if version < 2:
        head = (
            magic + bytes([0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0]) + bytes(4) + (b"\x20\0\0\0" if version else b"")
        )
        addresses = struct.pack("<QQQQ", 0, 2**64 - 1, end, 2**64 - 1)
    else:
        head = magic + bytes([8, 8, 0])
        addresses = struct.pack("<QQQQ", 0, 2**64 - 1, end, 48)
    return (head + addresses).ljust(end, b"d")


def parquet() -> bytes:
    return b"PAR1" + NOISE[:500] + (100).to_bytes(4, "little") + b"PAR1"


WHOLE = {
    "safetensors": safetensors([("F32", 400), ("BF16", 20)]),
    "zip": archive([("a", 100), ("b", 300)]),
    "npz": archive([("a.npy", 100)], zip64=True),
    "npy": npy(numpy.zeros((5, 7), "<f4")),
    "npy scalar": npy(numpy.float64(3)),
    "npy text": npy(numpy.array(["ab", "cde"])),
    "hdf5 v0": hdf5(0, 2000),
    "hdf5 v1": hdf5(1, 2000),
    "hdf5 v2": hdf5(2, 2000),
    "hdf5 v3": hdf5(3, 2000),
    "parquet": parquet(),
}


def check(data: bytes) -> bool | None:
    return end_check(len(data), read_from(data))


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_is_whole(name):
    assert check(WHOLE[name]) is True


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_never_called_whole_and_is_recognised_once_its_header_is_there(name):
    data = WHOLE[name]
    answers = [check(data[:length]) for length in range(len(data))]

    assert True not in answers
    assert answers[len(data) * 9 // 10 :] == [False] * (len(data) - len(data) * 9 // 10)


@pytest.mark.parametrize("data", [b"", b"text\n" * 100, NOISE[:1000], bytes(1000), b"\x93NUMPY", b"PK"])
def test_an_unknown_format_says_nothing(data):
    assert check(data) is None


@pytest.mark.parametrize("name", ["safetensors", "npy", "hdf5 v0", "hdf5 v2"])
def test_a_file_longer_than_its_structure_says_nothing(name):
    assert check(WHOLE[name] + b"x") is None


@pytest.mark.parametrize(
    "data",
    [
        hdf5(4, 2000),
        hdf5(0, 2000)[:13] + b"\x03" + hdf5(0, 2000)[14:],
        b"\x93NUMPY\x02\0" + (1 << 30).to_bytes(4, "little") + bytes(100),
        npy(numpy.zeros(3, [("a", "<f4"), ("b", "<i8")])),
    ],
)
def test_what_cannot_be_understood_says_nothing(data):
    assert check(data) is None


@given(st.sampled_from(sorted(WHOLE)), st.data())
@settings(max_examples=200, deadline=None)
def test_any_damage_gives_an_answer(name, data):
    damaged = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    assert check(bytes(damaged[: data.draw(st.integers(0, len(damaged)))])) in (True, False, None)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"loss 0.5\n", True),
        ("größe: 5 \N{SNOWMAN}\n".encode(), True),
        (b"\x1b[31mred\x1b[0m\r\n", True),
        (b"", False),
        (b"a\0b", False),
        (NOISE[:200], False),
        ("text".encode("utf-16"), False),
    ],
)
def test_text_is_told_from_binary(head, expected):
    assert is_line_text(head) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"one\ntwo\nthr", 8), (b"one\ntwo\n", 8), (b"no end", 0), (b"", 0), (b"\0\n\0", 3)],
)
def test_the_last_record_of_a_text_ends_at_a_newline(data, expected):
    assert last_record_end("log.txt", data) == expected


# "crc32c" of the check string of the standard, RFC 3720 B.4, masked as TFRecord does.
EVENT_OF_24 = bytes.fromhex("1800000000000000a37f4b22")


def test_the_checksum_is_the_one_that_tensorboard_writes():
    assert event(bytes(24))[:12] == EVENT_OF_24
    assert last_record_end("events.out.tfevents.1", event(bytes(24))) == 40


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(0, 600))
@settings(max_examples=100, deadline=None)
def test_an_event_file_ends_after_its_last_whole_event(payloads, length):
    events = [event(payload) for payload in payloads]
    data = b"".join(events)[:length]
    whole = [end for count in range(len(events) + 1) if (end := len(b"".join(events[:count]))) <= len(data)]

    assert last_record_end("logs/events.out.tfevents.17.host", data) == max(whole)


@pytest.mark.parametrize("damage", [bytes(16), b"\xff" * 16])
def test_an_event_file_ends_before_damage(damage):
    assert last_record_end("events.out.tfevents.1", event(b"abc") + damage) == 19


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=2, max_size=8), st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_the_next_event_is_found_from_within_one(payloads, cut):
    data = b"".join(event(payload) for payload in payloads)
    cut = min(cut, len(event(payloads[0])))

    assert last_record_end("events.out.tfevents.1", data[cut:]) == len(data) - cut


@pytest.mark.parametrize("noise", [bytes(1 << 20), b"\xff" * (1 << 20), b"\1\0\0\0\0\0\0\0" * 4096])
def test_what_has_no_event_in_it_has_no_end_of_one(noise):
    assert last_record_end("events.out.tfevents.1", noise) == 0
