"""What the tests share: the digits, a home of one's own, a small trained version, and the command
line. Tests marked `slow` run with `--all`.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from mnist_nb.core import home_folder
from mnist_nb.data.mnist import Mnist, load_mnist
from mnist_nb.training.config import TrainingConfig
from mnist_nb.training.jobs import train_version
from mnist_nb.training.pipeline import TrainedVersion
from tests.serving import at_home


@pytest.fixture(scope="session")
def mnist():
    "The real digits, fetched once into the user's own cache if they are not there yet."
    return load_mnist()


@pytest.fixture(scope="session")
def tiny_mnist(mnist):
    "The first 2,000 training digits and the first 1,000 test digits."
    return Mnist(
        mnist.train_images[:2000],
        mnist.train_labels[:2000],
        mnist.test_images[:1000],
        mnist.test_labels[:1000],
    )


@pytest.fixture(scope="session")
def trained(tiny_mnist, tmp_path_factory, worker_id):
    """A home with one small trained version, and the result of that training; all workers copy what
    the first one has trained.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "shared"
    home, result = tmp_path_factory.mktemp("trained") / "home", shared / "result.json"
    with FileLock(f"{shared}.lock"), pytest.MonkeyPatch.context() as patch:
        if not result.exists():
            patch.setenv("MNIST_NB_HOME", str(shared))
            config = TrainingConfig(epochs=2, batch_size=32, normalisation="batch", dropout=0.1)
            result.write_text(json.dumps(asdict(train_version(config, "tiny", mnist=tiny_mnist))))
    shutil.copytree(shared, home, ignore=shutil.ignore_patterns(result.name))
    return home, TrainedVersion(**json.loads(result.read_text()))


@pytest.fixture(scope="session")
def data_file(mnist):
    "Where the digits are on this machine."
    return Path(os.environ.get("MNIST_NB_DATA") or home_folder() / "data" / "mnist.npz").resolve()


@pytest.fixture(scope="module")
def module_home(tmp_path_factory, data_file):
    "A new home for all tests of a module, that takes the digits from where they are."
    with at_home(tmp_path_factory.mktemp("home"), data_file) as patch:
        yield patch


@pytest.fixture
def empty_home(tmp_path, monkeypatch, data_file):
    "A new home with nothing in it, and no word of where the digits could be."
    monkeypatch.setenv("MNIST_NB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MNIST_NB_DATA", raising=False)
    return tmp_path / "home"


@pytest.fixture
def home(empty_home, monkeypatch, data_file):
    "A new home that takes the digits from where they are."
    monkeypatch.setenv("MNIST_NB_DATA", str(data_file))
    return empty_home


@pytest.fixture(scope="session")
def program():
    "The installed command."
    return Path(sys.executable).parent / "mnist_nb"


@pytest.fixture(scope="session")
def command(program):
    "Runs `mnist_nb` with some arguments in a process of its own."

    def run(*arguments, **options):
        return subprocess.run(
            [program, *map(str, arguments)],
            capture_output=True,
            timeout=120,
            **{"text": True} | options,
        )

    return run


@pytest.fixture(scope="session")
def one_line():
    "Checks that a command failed with an exit code, and said why in one line; returns that line."

    def check(done, code):
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        return line

    return check


@pytest.fixture(scope="session")
def picture(mnist, tmp_path_factory):
    "A file with the first test digit, a seven."
    from PIL import Image

    path = tmp_path_factory.mktemp("picture") / "seven.png"
    Image.fromarray(mnist.test_images[0]).save(path)
    return path


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run the tests marked slow, too")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; runs only with --all")


# These files in `browser` have a server or a page of their own, which all of their tests share.
SHARING = {"test_insight.py", "test_web_page.py"}


def place(path):
    "Where the tests of a file come: without a browser, in a browser and together, and all others."
    in_browser = "browser" in path.parts
    return in_browser + (in_browser and path.name not in SHARING)


def order(item):
    "Where a test comes: by its file; in the browser, trainings come first, for they take longest."
    position = place(item.path)
    return position, position == 2 and "training" not in item.name


def pytest_collection_modifyitems(config, items):
    """Slow tests are skipped without `--all`. The browser's tests come last: while the browser
    lives, its event loop runs in this thread, and other tests start loops of their own.
    """
    if not config.getoption("--all"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow; runs with --all"))
    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Several workers take a file at a time, and in the end a test at a time, so that none has a
    long file left while the others have nothing.
    """
    from xdist.scheduler import LoadFileScheduling

    class FilesThenTests(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return file if place(Path(file)) < 2 else nodeid

    return FilesThenTests(config, log)
