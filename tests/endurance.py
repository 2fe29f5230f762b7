"""What takes long to show: kills, crowds, floods, fuzz and hours of use. Each gives its figures.

The tests run a short form of each, `python -m tools.faults --long` the long one.
"""

import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import psutil

from mnist_nb.model.registry import ModelRegistry
from mnist_nb.reader import Reader
from tests.serving import PIXELS, packed, patience, unpacked, watched

SEVEN = [[(10, 10), (60, 10), (30, 90)]]
SAVING = """
import shutil
from mnist_nb.model.registry import ModelRegistry, add_version, set_current
store = ModelRegistry()
while True:
    copy = lambda folder: shutil.copytree(store.pretrained, folder, dirs_exist_ok=True)
    set_current(store, add_version(store, 'copy', copy))
    print('.', flush=True)
    for old in {*store.versions()[1:]} - {store.current()}: shutil.rmtree(store.folder/old)
"""


def kills(count):
    """Kill a process that saves versions, so many times and at random moments of its work; lost is
    how often no whole version was found in use.
    """
    lost = 0
    for number in range(count):
        process = subprocess.Popen([sys.executable, "-c", SAVING], stdout=subprocess.PIPE)
        assert process.stdout.read(1) == b"."
        time.sleep(random.Random(number).random() * 0.3)
        process.kill()
        process.communicate()
        registry = ModelRegistry()
        try:
            lost += (
                registry.current() not in registry.versions()
                or Reader.load().read_strokes(SEVEN).digit != 7
            )
        except Exception:
            lost += 1
    return {"kills": count, "lost": lost}


def fuzz(seconds, crashes):
    """Feed the decoder with mutations of small pictures, guided by which of its code they reach;
    `crashes` is the folder for what was neither read nor refused.
    """
    crashes.mkdir(parents=True, exist_ok=True)
    words = [
        sys.executable,
        "-m",
        "tests.fuzz_decoder",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={crashes}/",
        "-print_final_stats=1",
        "-timeout=5",
        "-rss_limit_mb=2000",
        "-max_len=5000",
    ]
    with tempfile.TemporaryDirectory() as corpus:
        done = subprocess.run([*words, corpus], capture_output=True, text=True, check=False)
    stats = {name: int(value) for name, value in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)}
    if "number_of_executed_units" not in stats:
        raise RuntimeError(done.stderr[-2000:])
    return {
        "seconds": seconds,
        "pictures": stats["number_of_executed_units"],
        "surprises": len(list(crashes.iterdir())),
        "slowest_seconds": stats["slowest_unit_time_sec"],
        "peak_mb": stats["peak_rss_mb"],
    }


def strange_requests(random_ones=150):
    """Requests that no browser sends: methods, addresses, versions and headers of all sorts, then
    bytes at random.
    """
    rng, head = (
        random.Random(0),
        b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n",
    )
    odd = [
        "",
        " ",
        "\0",
        "/" * 5000,
        "/%",
        "/%00",
        "/..",
        "/../../x",
        "//",
        "/\xff",
        "/?" + "a" * 9000,
        "http://evil.example/",
        "*",
        "/{}",
        "/%s%n",
        "/'\"<>",
        "/\x7f",
    ]
    for path in odd:
        for base in ("", "/api/predict", "/api/model_info", "/live/x", "/static/x.js"):
            yield f"GET {base}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin1")
    for method in ("", "get", "FOO", "G E T", "A" * 9000, "TRACE", "CONNECT", "\x16\x03\x01"):
        yield f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin1")
    for version in ("", "HTTP/0.9", "HTTP/9.9", "HTTP", "HTTP/1.1.1", "XTTP/1.1"):
        yield f"GET / {version}\r\nHost: localhost\r\n\r\n".encode()
    yield b"GET / HTTP/1.1\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 300_000 + b"\r\n\r\n"
    for line in (
        "Content-Length: -1",
        "Content-Length: a",
        "Content-Length: 1\r\nContent-Length: 2",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: x",
        ": x",
        "a b: c",
        " folded",
    ):
        yield head + line.encode() + b"\r\n\r\nabc"
    for start in (b"", b"GET /api/model_info HTTP/1.1\r\n", head):
        for _ in range(random_ones // 3):
            yield start + rng.randbytes(rng.randrange(1, 200))


def strange(served, random_ones=150):
    """Send strange requests; errors are answers that blame the server, unanswered whether a good
    request was not served afterwards.
    """
    count = errors = 0
    for content in strange_requests(random_ones):
        count, errors = count + 1, errors + served.first_line(content).startswith(b"HTTP/1.1 5")
    return {"requests": count, "errors": errors, "unanswered": int(not served.reads())}


class User(threading.Thread):
    """Asks the server again and again over one connection: four pictures of five requests, and what
    the model is.
    """

    def __init__(self, served, seconds, pause=0.0):
        super().__init__(daemon=True)
        self.address, self.end, self.pause, self.taken, self.failures = (
            served.address,
            time.monotonic() + seconds,
            pause,
            [],
            0,
        )
        self.start()

    def run(self):
        connection, number = (
            http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=60),
            0,
        )
        while time.monotonic() < self.end:
            begun, number = time.perf_counter(), number + 1
            try:
                if number % 5:
                    connection.request(
                        "POST", "/api/predict", PIXELS, {"Content-Type": "application/json"}
                    )
                else:
                    connection.request("GET", "/api/model_info")
                answer = connection.getresponse()
                self.failures += answer.status != 200 or not json.loads(answer.read())
            except (OSError, ValueError, http.client.HTTPException):
                self.failures += 1
                connection.close()
            self.taken.append(time.perf_counter() - begun)
            time.sleep(self.pause)


def timings(users):
    "Requests, failures and how long an answer takes, of several users."
    taken = 1000 * np.concatenate([user.taken for user in users])
    return {"requests": len(taken), "failures": sum(user.failures for user in users)} | {
        f"p{share}_ms": round(float(np.percentile(taken, share)), 1) for share in (50, 95, 99)
    }


def crowd(served, users, seconds):
    """So many users at once; growth is the server's memory at the end, compared with a quarter of
    the time in, in percent.
    """
    process = psutil.Process(served.process.pid)
    asking = [User(served, seconds) for _ in range(users)]
    time.sleep(seconds / 4)
    early = process.memory_info().rss
    for user in asking:
        user.join()
    return dict(
        users=users,
        seconds=seconds,
        **timings(asking),
        growth_percent=round(100 * (process.memory_info().rss / early - 1), 1),
    )


def overload(served, clients, requests):
    """More at once than the server lets wait: lost are those neither answered nor told to come
    back; recovery is the time until the next one is answered.
    """

    def ask(_):
        try:
            answer = served.request("POST", "/api/predict", PIXELS, Content_Type="application/json")
        except (OSError, http.client.HTTPException):
            return "lost"
        return (
            "answered"
            if answer.status == 200
            else "told to wait"
            if answer.status == 503 and answer.headers["Retry-After"]
            else "lost"
        )

    with ThreadPoolExecutor(clients) as pool:
        said = [*pool.map(ask, range(requests))]
    begun = time.monotonic()
    with patience(5) as until:
        until(served.reads)
    return dict(
        clients=clients,
        requests=requests,
        **{
            word.replace(" ", "_"): said.count(word)
            for word in ("answered", "told to wait", "lost")
        },
        recovery_seconds=round(time.monotonic() - begun, 2),
    )


def upload(served, size, hold):
    """Send a large picture that is none, wait with its last byte until `hold` is over, and give the
    answer's first line.
    """
    with served.dial() as connection:
        try:
            connection.sendall(
                b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % size
            )
            for _ in range(size // 2**20):
                connection.sendall(bytes(2**20))
            hold.wait(30)
            connection.sendall(bytes(size % 2**20))
        except OSError:
            pass
        try:
            return connection.recv(100).partition(b"\r\n")[0]
        except OSError:
            return b""


def alive(page):
    "Whether a visitor's kernel answers over its websocket."
    page.send(packed("kernel_info_request"))
    try:
        while unpacked(page.recv(timeout=30))[0] != "kernel_info_reply":
            pass
    except (OSError, TimeoutError):
        return False
    return True


def flood(served, visitors, uploads, size=20_000_001):
    """Visitors on their pages while many upload as much as they may: unread are small pictures that
    were not read meanwhile, silent the visitors whose kernel did not answer.
    """
    hold = threading.Event()
    with ExitStack() as stack:
        pages = [stack.enter_context(served.live(served.visit())) for _ in range(visitors)]
        memory, pool = (
            stack.enter_context(watched(served.process.pid)),
            stack.enter_context(ThreadPoolExecutor(uploads)),
        )
        coming = [pool.submit(upload, served, size, hold) for _ in range(uploads)]
        time.sleep(1)
        unread = sum(not served.reads() for _ in range(20))
        silent = sum(not alive(page) for page in pages)
        hold.set()
        said = [each.result() for each in coming]
    return {
        "visitors": visitors,
        "uploads": uploads,
        "megabytes": size // 10**6,
        "refused": sum(b" 503 " in line for line in said),
        "taken": sum(b" 413 " in line for line in said),
        "unread": unread,
        "silent": silent,
        "growth_mb": round(memory.growth / 1e6),
    }


def call_on(served, stay):
    "Open a page, stay a while, let its kernel answer, and leave; whether all went well."
    with served.live(served.visit()) as page:
        time.sleep(stay)
        well = alive(page)
        page.close(1001)
    return well


def soak(served, seconds):
    """Visitors who come and go, users who ask now and then, pictures that are none, and clients
    that go away: what has failed, and what has grown, from a fifth of the time to its end.
    """
    process, end = psutil.Process(served.process.pid), time.monotonic() + seconds
    asking, early, visits, failures = [User(served, seconds, 0.5) for _ in range(4)], None, 0, 0
    while time.monotonic() < end:
        visits, failures = visits + 1, failures + (not call_on(served, 1))
        failures += (
            served.request(
                "POST", "/api/predict", os.urandom(10_000), Content_Type="image/png"
            ).status
            != 415
        )
        with served.dial() as connection:
            connection.sendall(
                b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
            )
        if not early and time.monotonic() > end - 0.8 * seconds:
            early = measured(process)
        time.sleep(1)
    for user in asking:
        user.join()
    end = time.monotonic() + 60
    while len(served.kernels()) != served.warm and time.monotonic() < end:
        time.sleep(0.2)
    late = measured(process)
    grown = {name: round(late[name] - early[name], 1) for name in late}
    return dict(
        seconds=seconds,
        visits=visits,
        failed_visits=failures,
        **timings(asking),
        kernels_left=abs(len(served.kernels()) - served.warm),
        memory_mb=round(late["memory_mb"]),
        **{f"grown_{name}": value for name, value in grown.items()},
    )


def measured(process):
    "What a server holds: memory, open files and threads."
    return {
        "memory_mb": process.memory_info().rss / 1e6,
        "files": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
        "threads": process.num_threads(),
    }
