"""The two logs: what was appended is read, what was cut costs itself and nothing else."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from holdfast.rundir.facts import Finished, Saved, SavedFile, from_records, to_record
from holdfast.rundir.records import RecordReader, RecordWriter, decode_line, encode_record

RECORDS = [{"n": n, "text": "line\nbreak é \ud800" if n % 2 else "x" * n} for n in range(6)]


def test_records_come_back_in_order_and_only_once(tmp_path):
    reader = RecordReader(tmp_path / "log")
    assert reader.read() == []
    with RecordWriter(tmp_path / "log") as writer:
        writer.append(*RECORDS[:2])
        assert reader.read() == RECORDS[:2]
        writer.append(RECORDS[2])
        assert reader.read() == RECORDS[2:3]
    assert reader.read() == []


def test_a_log_cut_at_any_byte_keeps_every_whole_record_and_takes_new_ones(tmp_path):
    lines = [encode_record(record) for record in RECORDS]
    data = b"".join(lines)
    for at in range(len(data) + 1):
        path = tmp_path / f"log-{at}"
        path.write_bytes(data[:at])
        whole = 0
        while whole < len(lines) and sum(map(len, lines[: whole + 1])) <= at:
            whole += 1
        assert RecordReader(path).read() == RECORDS[:whole]
        with RecordWriter(path) as writer:
            writer.append({"new": True})
        kept = RecordReader(path).read()
        # a line that lacks only its newline is completed by the next writer
        assert kept in ([*RECORDS[:whole], {"new": True}], [*RECORDS[: whole + 1], {"new": True}])


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_line_is_skipped(where, flip):
    line = bytearray(encode_record({"a": "b" * 50}))
    line[where % (len(line) - 1)] ^= flip
    try:
        found = decode_line(bytes(line[:-1]))
    except ValueError:
        raise AssertionError("a damaged line must be skipped") from None
    assert found is None or found == {"a": "b" * 50}


def test_processes_that_append_at_once_do_not_mix(tmp_path):
    path = tmp_path / "log"
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            with RecordWriter(path) as writer:
                for n in range(200):
                    writer.append({"child": child, "n": n, "pad": "x" * 300})
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    found = RecordReader(path).read()
    assert len(found) == 800
    for child in range(4):
        assert [record["n"] for record in found if record["child"] == child] == list(range(200))


def test_facts_come_back_and_unknown_ones_are_left_out():
    saved = Saved("id", "now", [SavedFile("a", "/a", 1, 2, 3)])
    records = [
        {**to_record(saved), "from_a_newer_version": 1},
        {"fact": "of a newer version"},
        {"fact": "finished"},
        to_record(Finished(0, 1.0)),
    ]

    assert list(from_records(records)) == [saved, Finished(0, 1.0)]
