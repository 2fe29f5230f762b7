"""A server under attack: malformed requests, slow ones, floods, and clients that go away.

All of it on 127.0.0.1, bounded in count and time.
"""

import socket
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from mnist_nb.serving.access import MAX_BODY_BYTES
from tests.endurance import crowd, flood, measured, overload, strange
from tests.serving import PIXELS, Served, patience, watched

HEAD = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def temporary(module_home):
    "A folder of their own for the temporary files of this module's servers."
    with tempfile.TemporaryDirectory(prefix="mnb", ignore_cleanup_errors=True) as folder:
        for name in ("TMPDIR", "TEMP", "TMP"):
            module_home.setenv(name, folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def served(temporary):
    "A server of its own."
    server = Served(warm=0)
    yield server
    server.stop()


@pytest.fixture
def untouched(served, temporary):
    "Nothing is written to the disk for a request, nothing is printed, and the server still reads."
    files, said = (
        lambda: {path for path in temporary.rglob("*") if not path.name.startswith("kernel-")},
        len(served.said),
    )
    before = files()
    yield
    assert files() == before and len(served.said) == said and served.reads()


def test_02_33_a_flood_of_uploads_beside_visitors(served):
    "They take turns; drawings are read all the same, and kernels answer."
    found = flood(served, 2, 30)
    assert (
        found["unread"] == found["silent"] == 0
        and found["refused"] > 0
        and found["growth_mb"] < 500
    )


def chunks(number):
    "So many chunks of a megabyte."
    for _ in range(number):
        yield b"100000\r\n" + bytes(2**20) + b"\r\n"


BODIES = {
    "honest": (
        b"Content-Length: %d\r\n" % (10 * MAX_BODY_BYTES),
        lambda: (bytes(2**20) for _ in range(10 * MAX_BODY_BYTES // 2**20)),
        b"413",
    ),
    "longer than can be": (b"Content-Length: 99999999999999999999\r\n", lambda: [], b"413"),
    "longer than it says": (b"Content-Length: 10\r\n", lambda: [bytes(2**20)] * 50, b"400"),
    "shorter than it says": (b"Content-Length: 1000\r\n", lambda: [b"{"], b""),
    "in chunks": (
        b"Transfer-Encoding: chunked\r\n",
        lambda: chunks(10 * MAX_BODY_BYTES // 2**20),
        b"413",
    ),
    "in one chunk": (
        b"Transfer-Encoding: chunked\r\n",
        lambda: [b"fffffff\r\n", *[bytes(2**20)] * 240],
        b"413",
    ),
    "in one endless chunk": (
        b"Transfer-Encoding: chunked\r\n",
        lambda: [b"f" * 15 + b"\r\n", *[bytes(2**20)] * 60],
        b"413",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_02_too_large_a_body(served, untouched, name):
    "Refused, or cut off, before it is all there."
    header, body, status = BODIES[name]
    with watched(served.process.pid) as memory, served.dial() as connection:
        try:
            connection.sendall(HEAD + header + b"\r\n")
            for piece in body():
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            said = connection.recv(4096).partition(b"\r\n")[0]
        except OSError:
            said = b""
    assert said == b"" or said.split()[1] == status
    assert memory.growth < 2 * MAX_BODY_BYTES


def send_and_look(served, *pieces):
    "The first line that comes back, b'' if the connection ends without one."
    with served.dial() as connection:
        with suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
        with suppress(OSError):
            return connection.recv(4096).partition(b"\r\n")[0]
    return b""


@pytest.mark.parametrize("header", [b"Content-Length: \xb2", b"Origin: http://["])
def test_29_a_header_that_cannot_be_parsed_gets_an_answer(served, untouched, header):
    assert send_and_look(served, HEAD + header + b"\r\n\r\n").split()[1] in (b"400", b"403")


def test_25_uploads_leave_nothing_on_the_disk(served, untouched):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image";'
        b' filename="../../x.png"\r\nContent-Type: image/png\r\n\r\n'
        + bytes(5_000_000)
        + b"\r\n--x--\r\n"
    )
    assert (
        served.request(
            "POST", "/api/predict", form, Content_Type="multipart/form-data; boundary=x"
        ).status
        == 415
    )


def test_16_nothing_personal_is_printed(served, untouched):
    "What was asked, by whom, and what with, is in no log; `untouched` sees to it."
    served.get(
        "/api/model_info?visitor=somebody", User_Agent="a browser", X_Forwarded_For="192.0.2.7"
    )
    served.get("/nothing/there/somebody")
    served.request("POST", "/api/train", b'{"somebody": 1}', Content_Type="application/json")


def test_29_strange_requests(served):
    found = strange(served)
    assert (found["errors"], found["unanswered"]) == (0, 0) and found["requests"] > 150


@pytest.fixture(scope="module")
def impatient(temporary):
    """A server that waits three seconds where the real one waits a minute, and lets four pictures
    wait.
    """
    server = Served(
        constants={
            "server.IDLE_TIMEOUT_SECONDS": 3,
            "server.BODY_TIMEOUT_SECONDS": 3,
            "server.PredictHandler.MAX_WAITING": 4,
        },
        warm=0,
    )
    yield server
    server.stop()


def established(served):
    return [
        each
        for each in psutil.Process(served.process.pid).net_connections("tcp")
        if each.status == "ESTABLISHED"
    ]


def test_31_slow_clients(impatient):
    """Two hundred connections that never finish their request, a hundred and fifty that say
    nothing, and some that do not read: others are served, and the server ends what is slow, while
    its clients still hold on.
    """
    with ExitStack() as stack:
        idle, slow, halves, deaf = (
            [stack.enter_context(impatient.dial()) for _ in range(number)]
            for number in (150, 200, 20, 20)
        )
        for connection in halves:
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        for connection in deaf:
            connection.sendall(
                b"GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20
            )
        for byte in range(5):
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b"POST /api/predict HTTP/1.1\r\nX"[byte : byte + 1])
            assert impatient.reads()
        with patience(30) as until:
            until(lambda: not established(impatient))
        for connection in (*idle, *slow, *halves):
            connection.settimeout(5)
            with suppress(ConnectionError):
                assert connection.recv(100)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 408")
    assert impatient.reads()


def test_31_more_connections_than_are_taken(temporary):
    server = Served(constants={"server.MAX_CONNECTIONS": 20}, warm=0)
    try:
        with ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(server.dial())
            with patience() as until:
                until(lambda: len(established(server)) <= 20)
        with patience() as until:
            until(lambda: not established(server))
        assert server.reads()
    finally:
        server.stop()


def test_32_a_crowd_is_served(served):
    found = crowd(served, 20, 3)
    assert found["failures"] == 0 and found["requests"] > 50


def test_33_who_cannot_be_served_is_told_to_come_back(impatient):
    found = overload(impatient, 60, 1500)
    assert found["lost"] == 0 and found["told_to_wait"] > 0 and found["answered"] > 0


def leave(served, number):
    "Go away: in the middle of what one sends, before the answer, or in the middle of it."
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(PIXELS) + PIXELS
    with served.dial() as connection:
        connection.sendall(
            request[: 30 + 13 * number]
            if number % 2
            else (
                request
                if number % 4
                else b"GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
        )
        if number % 8 == 4:
            connection.recv(1)


def test_34_clients_that_go_away(served, untouched):
    """The first hundred have the pools of threads grow to their size; two hundred more leave
    nothing behind.
    """
    process = psutil.Process(served.process.pid)
    for number in range(100):
        leave(served, number)
    with patience() as until:
        until(lambda: not established(served))
    before = measured(process)
    for number in range(200):
        leave(served, number)
    with patience() as until:
        until(
            lambda: (
                measured(process)["files"] <= before["files"]
                and measured(process)["threads"] <= before["threads"] + 2
            )
        )


def test_02_bodies_that_are_refused_leave_nothing_in_memory(served, untouched):
    with watched(served.process.pid) as memory:
        for _ in range(40):
            send_and_look(
                served,
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
                *chunks(MAX_BODY_BYTES // 2**20 + 2),
            )
    assert memory.growth < 20 * MAX_BODY_BYTES
