"""What a person sees of a training in a terminal of 80 columns."""

import os
import re
import select
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
FRAMEWORK = re.compile("cuInit|oneDNN|cudart|absl|tensorflow/|TF_", re.IGNORECASE)


class Terminal:
    "A program in a terminal; `text` is all that it showed."

    def __init__(self, *words, columns=80):
        import fcntl
        import pty
        import struct
        import termios

        self.text = ""
        self.started = time.monotonic()
        self.process, self.file = pty.fork()
        if not self.process:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
            os.execvp(words[0], words)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def wait_for(self, pattern, seconds):
        "Wait until something is shown; returns the seconds that it took."
        start, shown = time.monotonic(), len(self.text)
        while not re.search(pattern, self.text[shown:]):
            assert time.monotonic() - start < seconds, f"{pattern} is not in {self.text!r}"
            if select.select([self.file], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.file, 65536).decode(errors="replace")
                except OSError:
                    break
        return time.monotonic() - start

    def interrupt(self):
        os.write(self.file, b"\x03")

    def end(self):
        "Wait for the end; returns the exit code."
        self.wait_for("a pattern that never comes", 170)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def test_a_training_in_a_terminal(home, program):
    "A word at once, a bar of some width, an answer to Ctrl-C, and nothing of the framework's."
    terminal = Terminal(program, "train", "--preset", "quick", "--evaluation-digits", "200")
    assert terminal.wait_for("getting ready", 20) < 5
    terminal.wait_for(r"epoch 1: .* left, loss", 120)
    (bar,) = set(map(len, re.findall(r"\|([^|\r]*)\| \d\d:\d\d left, loss", terminal.text)))
    assert bar >= 15
    terminal.interrupt()
    assert terminal.wait_for("stopping after this batch", 20) < 2
    assert terminal.end() == 0
    assert "stopped after" in terminal.text and "images/s" not in terminal.text
    assert not FRAMEWORK.search(terminal.text), terminal.text
    assert len(list((home / "jobs").glob("*/log.txt"))) == 1


def test_ctrl_c_twice_ends_at_once(home, program):
    terminal = Terminal(program, "train", "--preset", "quick")
    terminal.wait_for("training .*; what TensorFlow says is in", 30)
    terminal.interrupt()
    assert terminal.wait_for("stopping after this batch", 20) < 2
    terminal.interrupt()
    start = time.monotonic()
    assert terminal.end() != 0
    assert time.monotonic() - start < 10
