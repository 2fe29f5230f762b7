"""A server under attack: malformed requests, slow ones, floods, and clients that go away. All of it on 127.0.0.1, bounded in count and time."""
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import psutil
import pytest

from tests.serving import Served, patience

PIXELS = f'{{"pixels": {np.eye(28, dtype=int).ravel().tolist()}}}'.encode()
HEAD = b'POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'


@pytest.fixture(scope='module')
def served(tmp_path_factory, data_file):
    "A server of its own."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MNIST_NB_HOME', str(tmp_path_factory.mktemp('home')))
        patch.setenv('MNIST_NB_DATA', str(data_file))
        server = Served(warm=0)
    yield server
    server.stop()


def dial(served, timeout=20):
    "A raw connection to the server."
    return socket.create_connection((served.address.hostname, served.address.port), timeout=timeout)


def said_to(served, content):
    "The first line of the answer to some bytes; empty where the connection is just closed."
    with dial(served) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096).partition(b'\r\n')[0]
        except OSError: return b''


def answers(served): return served.request('POST', '/api/predict', PIXELS, Content_Type='application/json').status == 200


def strange_requests():
    "Requests that no browser sends: methods, addresses, versions and headers of all sorts."
    rng = random.Random(0)
    odd = ['', ' ', '\0', '/'*5000, '/%', '/%00', '/..', '/../../x', '//', '/\xff', '/?' + 'a'*9000, 'http://evil.example/', '*', '/{}', '/%s%n', "/'\"<>", '/\x7f']
    for path in odd: yield f'GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode('latin1')
    for method in ('', 'get', 'FOO', 'G E T', 'A'*9000, 'TRACE', 'CONNECT', '\x16\x03\x01'): yield f'{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode('latin1')
    for version in ('', 'HTTP/0.9', 'HTTP/9.9', 'HTTP', 'HTTP/1.1.1', 'XTTP/1.1'): yield f'GET / {version}\r\nHost: localhost\r\n\r\n'.encode()
    yield b'GET / HTTP/1.1\r\n\r\n'
    yield b'GET / HTTP/1.1\r\nHost: localhost\r\nX: ' + b'a'*300_000 + b'\r\n\r\n'
    for line in ('Content-Length: -1', 'Content-Length: a', 'Content-Length: 1\r\nContent-Length: 2', 'Transfer-Encoding: chunked\r\nContent-Length: 5', ': x', 'a b: c', ' folded'):
        yield HEAD + line.encode() + b'\r\n\r\nabc'
    for _ in range(150): yield bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200)))


def test_29_strange_requests(served):
    for content in strange_requests():
        first = said_to(served, content)
        assert not first.startswith(b'HTTP/1.1 5'), content[:80]
    assert answers(served)


def test_31_slow_clients(served):
    "Two hundred connections that never finish their request, and a hundred and fifty that say nothing: others are served meanwhile, and the sockets go in the end."
    with ExitStack() as stack:
        idle = [stack.enter_context(dial(served)) for _ in range(150)]
        slow = [stack.enter_context(dial(served)) for _ in range(200)]
        for round_ in range(5):
            for connection in slow:
                try: connection.sendall(b'POST /api/predict HTTP/1.1\r\nX'[round_:round_ + 1])
                except OSError: pass
            assert answers(served)
        body = stack.enter_context(dial(served))
        body.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{')
        assert answers(served) and idle
    with patience() as until: until(lambda: len([c for c in psutil.Process(served.process.pid).net_connections('tcp') if c.status == 'ESTABLISHED']) < 20)


def test_32_33_a_crowd_is_served_or_told_to_come_back(served):
    "Many at once: every request is answered, with a digit or with 503 and when to try again; then all is as before."
    def ask(_):
        answer = served.request('POST', '/api/predict', PIXELS, Content_Type='application/json')
        return answer.status, answer.headers.get('Retry-After')
    with ThreadPoolExecutor(60) as pool: found = [*pool.map(ask, range(1500))]
    assert {status for status, _ in found} <= {200, 503}
    assert all(retry for status, retry in found if status == 503) and sum(status == 200 for status, _ in found) > 100
    with patience(5) as until: until(lambda: answers(served))


def test_34_clients_that_go_away(served):
    process = psutil.Process(served.process.pid)
    assert answers(served)
    files, threads = process.num_fds(), process.num_threads()
    for number in range(200):
        with dial(served) as connection: connection.sendall((HEAD + b'Content-Length: %d\r\n\r\n' % len(PIXELS) + PIXELS)[:30 + number*7])
    assert answers(served)
    with patience() as until: until(lambda: process.num_fds() <= files + 5 and process.num_threads() <= threads + 30)
