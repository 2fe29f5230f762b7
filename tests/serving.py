"A server in a process of its own, and what a visitor without a browser does with it."

import http.client
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest
from websockets.sync.client import connect

PROTOCOL = "v1.kernel.websocket.jupyter.org"
PIXELS = f'{{"pixels": {[[int(x == y) for x in range(28)] for y in range(28)]}}}'.encode()
ENDINGS = [signal.CTRL_BREAK_EVENT] if os.name == "nt" else [signal.SIGTERM, signal.SIGINT]
APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {}


def words_of(process):
    "The command line of a process; none where it has ended."
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Served:
    """A server on a free port, started with the options of `mnist_nb.serving.server.serve`.

    `constants` are set in its module before.
    """

    def __init__(self, constants=None, **options):
        options = {"port": 0, "browser": False} | options
        self.warm = 2 * options.get("warm", 1)
        setting = "".join(
            f"server.{name} = {value!r}; " for name, value in (constants or {}).items()
        )
        code = f"from mnist_nb.serving import server; {setting}server.serve(**{options!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            **APART,
        )
        self.lines, self.said = queue.Queue(), []
        threading.Thread(target=self._listen, daemon=True).start()
        self.url = re.search(r"http://\S+", self.wait_for(" is at "))[0]
        self.address = urlsplit(self.url)

    def _listen(self):
        for line in self.process.stdout:
            self.said.append(line)
            self.lines.put(line)
        self.lines.put("")

    def wait_for(self, words):
        "The first line that has these words in it."
        while words not in (line := self.lines.get(timeout=60)):
            if not line:
                raise AssertionError("the server ended:\n" + "".join(self.said))
        return line

    def request(self, method, path, body=None, **headers):
        "The answer to a request; its `body` is read, and `json` holds what it says if it is JSON."
        connection = http.client.HTTPConnection(
            self.address.hostname, self.address.port, timeout=60
        )
        try:
            connection.request(
                method,
                path,
                body,
                {name.replace("_", "-"): value for name, value in headers.items()},
            )
            answer = connection.getresponse()
            answer.body = answer.read()
        finally:
            connection.close()
        answer.json = (
            json.loads(answer.body) if "json" in answer.headers.get("Content-Type", "") else None
        )
        return answer

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def reads(self):
        "Whether a small picture is read."
        return (
            self.request("POST", "/api/predict", PIXELS, Content_Type="application/json").status
            == 200
        )

    def dial(self, timeout=20):
        "A raw connection."
        return socket.create_connection((self.address.hostname, self.address.port), timeout=timeout)

    def first_line(self, content):
        "The first line of the answer to some bytes; empty where the connection is just closed."
        with self.dial() as connection:
            try:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                return connection.recv(4096).partition(b"\r\n")[0]
            except OSError:
                return b""

    def visit(self, path="/", **headers):
        "The secret name of a new visit."
        page = self.get(path, **headers)
        assert page.status == 200
        return json.loads(re.search(rb'id="visit">(.*?)</script>', page.body)[1])["visit"]

    def live(self, visit, subprotocols=(PROTOCOL,), **options):
        "The websocket of a visit."
        return connect(
            f"ws://{self.address.netloc}/live/{visit}?session_id=test",
            subprotocols=subprotocols or None,
            proxy=None,
            **options,
        )

    def processes(self):
        "The processes that the server has started, and those that they have."
        return psutil.Process(self.process.pid).children(recursive=True)

    def kernels(self):
        "The visitors' kernels, warm ones included."
        return [
            process
            for process in self.processes()
            if any("ipykernel" in word for word in words_of(process))
        ]

    def stop(self, number=ENDINGS[0]):
        "End the server; the seconds that it took."
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
        return time.monotonic() - started


def packed(kind, content=None, channel="shell"):
    "A message to a kernel, as the page sends it."
    header = {
        "msg_id": os.urandom(8).hex(),
        "session": "test",
        "username": "",
        "date": "2026-01-01T00:00:00Z",
        "msg_type": kind,
        "version": "5.3",
    }
    parts = [
        channel.encode(),
        *(json.dumps(part).encode() for part in (header, {}, {}, content or {})),
    ]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return b"".join([number.to_bytes(8, "little") for number in (len(offsets), *offsets)] + parts)


def unpacked(message):
    "The kind and the content of a message from a kernel."
    count = int.from_bytes(message[:8], "little")
    offsets = [int.from_bytes(message[8 * at : 8 * at + 8], "little") for at in range(1, count + 1)]
    return json.loads(message[offsets[1] : offsets[2]])["msg_type"], json.loads(
        message[offsets[4] : offsets[5]]
    )


@contextmanager
def watched(pid=None):
    """Looks at a process, this one unless told otherwise, every other millisecond; `growth` of what
    it gives is by how many bytes its memory grew at most.
    """

    class Found:
        growth = 0

    process, found, over = psutil.Process(pid), Found(), threading.Event()
    before = process.memory_info().rss

    def look():
        while not over.wait(0.002):
            found.growth = max(found.growth, process.memory_info().rss - before)

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    try:
        yield found
    finally:
        over.set()
        looker.join()


@contextmanager
def at_home(home, data_file):
    "Whatever is started has this home, and takes the digits from this file."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_NB_HOME", str(home))
        patch.setenv("MNIST_NB_DATA", str(data_file))
        yield patch


@contextmanager
def patience(seconds=20):
    "A question to ask until it is true."
    end = time.monotonic() + seconds

    def until(true):
        while not true():
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s")
            time.sleep(0.05)

    yield until
