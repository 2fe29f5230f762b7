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
        self.process, self.file = pty.fork()
        if not self.process:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
            os.execvp(words[0], words)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self):
        "Take what is shown now; False where the program has ended."
        if select.select([self.file], [], [], 0.1)[0]:
            try:
                self.text += os.read(self.file, 65536).decode(errors="replace")
            except OSError:
                return False
        return True

    def wait_for(self, pattern, seconds=120):
        "Wait until something new is shown."
        deadline, shown = time.monotonic() + seconds, len(self.text)
        is_alive = True
        while not re.search(pattern, self.text[shown:]):
            assert is_alive and time.monotonic() < deadline, f"{pattern} is not in {self.text!r}"
            is_alive = self.read()

    def interrupt(self):
        os.write(self.file, b"\x03")

    def end(self, seconds=170):
        "Wait for the end; returns the exit code."
        deadline = time.monotonic() + seconds
        while self.read():
            assert time.monotonic() < deadline, self.text
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def test_a_training_in_a_terminal(home, program):
    """A word before all else, a bar of some width, an answer to Ctrl-C before the end, and
    nothing of the framework's.
    """
    terminal = Terminal(program, "train", "--preset", "quick", "--evaluation-digits", "200")
    terminal.wait_for(r"epoch 1: .* left, loss")
    assert terminal.text.index("getting ready") < terminal.text.index("TensorFlow's messages")
    (bar,) = set(map(len, re.findall(r"\|([^|\r]*)\| \d\d:\d\d left, loss", terminal.text)))
    assert bar >= 15
    terminal.interrupt()
    terminal.wait_for("stopping after this batch")
    assert terminal.end() == 0
    assert "stopped after" in terminal.text and "images/s" not in terminal.text
    assert not FRAMEWORK.search(terminal.text), terminal.text
    assert len(list((home / "jobs").glob("*/log.txt"))) == 1


def test_ctrl_c_twice_ends_at_once(home, program):
    terminal = Terminal(program, "train", "--preset", "quick")
    terminal.wait_for("training .*; TensorFlow's messages are in")
    terminal.interrupt()
    terminal.wait_for("stopping after this batch")
    terminal.interrupt()
    assert terminal.end() != 0
    assert "saved as" not in terminal.text
