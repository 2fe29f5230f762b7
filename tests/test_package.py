"""What the package offers, and what its settings say."""

import re
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mnist_nb

ROOT = Path(__file__).parent.parent


def test_help(command):
    said = command("--help").stdout
    for name in ("train", "evaluate", "predict", "models", "info"):
        assert re.search(rf"^  {name} ", said, re.MULTILINE)
    for option in ("--preset", "--epochs", "--resume", "--json"):
        assert option in command("train", "--help").stdout
    assert command("--version").stdout.strip().endswith(mnist_nb.__version__)


@pytest.mark.parametrize("name", mnist_nb.__all__)
def test_public_name_resolves(name):
    assert getattr(mnist_nb, name).__name__ == name and name in dir(mnist_nb)


def test_unknown_name():
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = mnist_nb.nothing_of_that_name


@pytest.fixture
def settings():
    parser = ConfigParser()
    parser.read(ROOT / "settings.ini", encoding="utf8")
    return parser["DEFAULT"]


def test_version(settings):
    assert mnist_nb.__version__ == settings["version"]


EXTRAS = ("train", "onnx", "heic", "ray", "docs", "dev")
FLOORS = {
    "keras": "3.15",
    "pillow": "12.3",
    "flask": "3.1.3",
    "werkzeug": "3.1.6",
    "jupyter_server": "2.18",
    "voila": "0.5.12",
    "ipywidgets": "8.1",
}


@pytest.mark.parametrize("name", FLOORS)
def test_nothing_older_than_the_last_known_fault(settings, name):
    (asked,) = [
        each
        for each in map(
            Requirement, f"{settings['requirements']}{settings['train_requirements']}".split()
        )
        if each.name == name
    ]
    (floor,) = [part.version for part in asked.specifier if part.operator == ">="]
    assert Version(floor) >= Version(FLOORS[name]) and Version(metadata.version(name)) >= Version(
        floor
    )


@pytest.mark.parametrize("name", ["requirements", *(f"{extra}_requirements" for extra in EXTRAS)])
def test_constraints_are_of_these_requirements(settings, name):
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf8").split()
    )
    for asked in map(Requirement, settings[name].split()):
        assert pins[canonicalize_name(asked.name)] in asked.specifier


@pytest.mark.parametrize("name", ["requirements", "dev_requirements"])
def test_requirements_have_floors(settings, name):
    lines = settings[name].split()
    bounds = {
        "requirements": r"[\w.-]+>=\d[\d.]*(,<\d[\d.]*)?",
        "dev_requirements": r"[\w.-]+(>=|==|<)\d[\d.]*",
    }
    assert len(lines) > 5 and [line for line in lines if not re.fullmatch(bounds[name], line)] == []
