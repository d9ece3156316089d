"""The console's copy: it has what was printed, and the console never notices."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from holdfast.training import console as module
from holdfast.training.console import Console, OutputLog
from holdfast.training.screen import Screen

NOW = 1000.0


def shown(*texts, rest=True, seconds=0.01):
    screen = Screen()
    lines = [line for number, text in enumerate(texts) for line in screen.write(text, NOW + number * seconds)]
    return lines + (screen.rest() if rest else [])


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        (["a", "\n"], ["a"]),
        (["a\nb\n\nc"], ["a", "b", "", "c"]),
        (["a", "b", "\n", "c\n"], ["ab", "c"]),
        (["a\r\nb\r\n"], ["a", "b"]),
        (["\r 1%", "\r 2%", "\r 3%", "\n", "done\n"], [" 3%", "done"]),
        (["1%\r", "2%\r", "\n"], ["2%"]),
        (["\x1b[31mred\x1b[0m\n"], ["red"]),
        (["\x1b]0;title\x07a\tb\x00\x08c\n"], ["a\tbc"]),
        (["\x1b[2Kx\n"], ["x"]),
        (["Zoë ☃\n"], ["Zoë ☃"]),
        ([""], []),
        (["\n"], [""]),
    ],
)
def test_a_line_is_kept_as_it_was_last_seen(texts, lines):
    assert shown(*texts) == lines


def test_bars_below_each_other_are_kept_as_they_were_last_seen():
    texts = []
    for step in range(500):
        texts += [f"\r outer {step}", "\n", f"\r inner {step}", "\x1b[A"]

    lines = shown("begin\n", *texts, "\n\nend\n", seconds=0.001)

    assert lines == ["begin", " outer 0", " outer 499", " inner 499", "end"]


def test_a_table_that_is_drawn_over_and_over_is_kept_once_more_at_its_end():
    table = "\r\x1b[2K\x1b[1A\x1b[2Kloss {0}\nacc {0}"

    lines = shown("loss 0\nacc 0", *(table.format(n) for n in range(1, 400)), "\nend\n", seconds=0.001)

    assert lines == ["loss 0", "loss 399", "acc 399", "end"]


def test_a_bar_that_moves_for_hours_is_shown_now_and_then():
    lines = shown(*(f"\r {minute} min" for minute in range(60)), seconds=60, rest=False)

    assert 20 < len(lines) <= 60


def test_an_endless_line_is_broken_and_an_endless_block_is_let_go():
    assert max(len(line) for line in shown(*["x" * 5000] * 100)) < 200_000
    assert len(shown("\x1b[A", *["a\n"] * 1000, rest=False)) > 900


class Recorded:
    """A console over streams of the test's own."""

    def __init__(self, tmp_path, monkeypatch, **given):
        self.path = tmp_path / "output.log"
        self.complaints = []
        self.out, self.err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdout", self.out)
        monkeypatch.setattr(sys, "stderr", self.err)
        self.console = Console(OutputLog(self.path, given.get("secrets", ()), self.complaints.append))
        self.console.start()

    @property
    def text(self):
        return self.path.read_text()


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Begin to record within the test itself: pytest gives each phase of a test streams of its own."""
    made = []

    def begin(**given):
        made.append(Recorded(tmp_path, monkeypatch, **given))
        return made[-1]

    yield begin
    for recorded in made:
        recorded.console.stop()


def test_what_is_printed_is_in_the_file_when_print_returns_and_on_the_console(record):
    recorded = record()
    print("to stdout")
    print("to stderr", file=sys.stderr)
    sys.stdout.writelines(["one\n", "two\n"])

    assert recorded.text.splitlines() == ["to stdout", "to stderr", "one", "two"]
    assert recorded.out.getvalue() == "to stdout\none\ntwo\n"


def test_the_streams_are_the_same_objects_and_afterwards_as_they_were(record):
    recorded = record()
    assert sys.stdout is recorded.out

    recorded.console.stop()
    print("later")

    assert "write" not in vars(recorded.out)
    assert not recorded.path.exists()


def test_a_wrapper_of_somebody_elses_stays(record):
    recorded = record()
    ours = recorded.out.write
    recorded.out.write = lambda text: ours(text.upper())

    print("a")
    recorded.console.stop()
    print("b")

    assert recorded.text == "A\n"
    assert recorded.out.getvalue() == "A\nB\n"


def test_what_is_redirected_is_not_on_the_console_and_not_in_the_file(record):
    recorded = record()
    elsewhere = io.StringIO()
    with contextlib.redirect_stdout(elsewhere):
        print("hidden")
    print("shown")

    assert recorded.text == "shown\n"


def test_a_logging_handler_that_holds_the_stream_is_heard(record):
    recorded = record()
    logger = logging.getLogger("test-of-the-console")
    handler = logging.StreamHandler(recorded.err)
    logger.addHandler(handler)
    logger.error("from a logger")
    logger.removeHandler(handler)

    assert recorded.text == "from a logger\n"


def test_lines_of_many_threads_are_all_there_and_whole(record):
    recorded = record()

    def work(number):
        for step in range(500):
            sys.stdout.write(f"thread {number} step {step}\n")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wanted = sorted(f"thread {number} step {step}" for number in range(4) for step in range(500))
    assert sorted(recorded.text.splitlines()) == wanted


def test_a_signal_handler_that_prints_while_a_line_is_being_written_does_not_hang(record):
    recorded = record()
    signal.signal(signal.SIGALRM, lambda *_: print("tick"))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            print("line")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    assert "tick" in recorded.text


def test_a_full_disk_is_complained_of_once_and_the_console_goes_on(record, monkeypatch):
    recorded = record()
    write = os.write

    def full(_fd, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "write", full)
    for number in range(3):
        print("kept", number)
    monkeypatch.setattr(module.os, "write", write)
    recorded.console.stop()

    assert recorded.out.getvalue() == "kept 0\nkept 1\nkept 2\n"
    assert recorded.text == "kept 0\nkept 1\nkept 2\n"
    assert len(recorded.complaints) == 1


def test_of_what_a_full_disk_never_takes_only_so_much_is_held(tmp_path):
    log = OutputLog(tmp_path / "gone" / "output.log", (), lambda _text: None)
    for _ in range(3000):
        log.add(["x" * 1000])
    (tmp_path / "gone").mkdir()
    log.close()

    text = (tmp_path / "gone" / "output.log").read_text()
    assert len(text) < 1_100_000
    assert text.startswith("---- ")
    assert "bytes lost" in text.splitlines()[0]


def test_text_that_cannot_be_encoded_and_what_is_no_text_are_the_streams_matter(record):
    recorded = record()
    print("\udcff")
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes")

    assert recorded.text == "\\udcff\n"


def test_a_stream_that_fails_fails_as_without_us_and_the_file_has_the_line(record):
    recorded = record()
    recorded.out.close()

    with pytest.raises(ValueError, match="closed"):
        sys.stdout.write("lost to the console\n")

    assert recorded.text == "lost to the console\n"


def test_missing_streams_and_streams_that_take_no_attributes_are_left_alone(tmp_path, monkeypatch):
    class Fixed:
        __slots__ = ("seen",)

        def write(self, text):
            self.seen = text

    monkeypatch.setattr(sys, "stdout", Fixed())
    monkeypatch.setattr(sys, "stderr", None)
    console = Console(OutputLog(tmp_path / "output.log", (), print))
    console.start()
    sys.stdout.write("x")
    console.stop()

    assert sys.stdout.seen == "x"


def test_our_own_key_is_never_in_the_file(record):
    recorded = record(secrets=("hf_secret",))
    print("key=hf_secret token=theirs")

    assert recorded.text == "key=*** token=theirs\n"


def test_forked_workers_write_whole_lines_and_no_unfinished_one_of_their_parents(record):
    recorded = record()
    print("parent's ", end="")
    pid = os.fork()
    if pid == 0:
        print("child")
        os._exit(0)
    os.waitpid(pid, 0)
    print("line")

    assert recorded.text == "child\nparent's line\n"


def test_real_streams_stay_what_they_are(tmp_path):
    text = (
        "import sys, holdfast\n"
        "before = [(s.fileno(), s.isatty(), s.encoding, s.buffer, type(s)) for s in (sys.stdout, sys.stderr)]\n"
        "run = holdfast.init(mode='offline')\n"
        "after = [(s.fileno(), s.isatty(), s.encoding, s.buffer, type(s)) for s in (sys.stdout, sys.stderr)]\n"
        "assert before == after\n"
        "print('text'); sys.stdout.flush(); sys.stdout.buffer.write(b'bytes\\n'); sys.stdout.reconfigure(errors='replace')\n"
        "print('last words', end='')\n"
        "raise ValueError('boom')\n"
    )
    environment = {**os.environ, "HOLDFAST_CONSOLE": "wrap", "HOLDFAST_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    [log] = tmp_path.glob("holdfast/run-*/files/output.log")
    lines = log.read_text().splitlines()
    assert done.stdout == "text\nbytes\nlast words"
    assert {"text", "ValueError: boom", "last words"} <= set(lines)
    assert lines[0].startswith("holdfast: run ")
