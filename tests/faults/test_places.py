"""Wherever it is run from, and whatever its folders are called; and what it leaves behind when it
is only imported: nothing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"tensorflow", "keras", "matplotlib", "sklearn", "IPython", "flask", "voila"}

WATCHED = """
import json, os, sys
seen = []

def watch(event, args):
    if event in ('socket.connect', 'socket.bind', 'socket.sendto', 'socket.getaddrinfo',
        'os.mkdir', 'os.rename', 'subprocess.Popen'):
        seen.append([event, str(args)])
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event == 'open' and args[0] != os.devnull and args[2] & writes:
        seen.append([event, str(args)])

sys.addaudithook(watch)
{code}
sys.__stdout__.write('\\n' + json.dumps(dict(seen=seen,
    modules=[name for name in sys.modules if '.' not in name])))
"""

COMMAND = "from mnist_nb.cli import main\nmain({}, standalone_mode=False)"


@pytest.mark.parametrize(
    "code",
    [
        "import mnist_nb",
        "from mnist_nb import Reader",
        COMMAND.format(["--help"]),
        COMMAND.format(["train", "--help"]),
        COMMAND.format(["models", "list"]),
        "import mnist_nb\nassert mnist_nb.read_digit(sys.argv[1]).digit == 7",
        "from mnist_nb import MNISTClassifier\nMNISTClassifier()",
    ],
    ids=[
        "import",
        "Reader",
        "help",
        "train help",
        "models list",
        "read a digit",
        "MNISTClassifier",
    ],
)
def test_51_light_and_without_traces(home, tmp_path, picture, code):
    (tmp_path / "here").mkdir()
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED.format(code=code), picture],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["seen"] == [] and not HEAVY & set(found["modules"])
    assert not home.exists() and not list((tmp_path / "here").iterdir())


def test_51_the_watch_sees(tmp_path):
    "The test above can fail."
    code = (
        "import socket, colorsys\nopen('file', 'w').close()\nsocket.socket().bind(('127.0.0.1', 0))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED.format(code=code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert [event for event, _ in found["seen"]] == ["open", "socket.bind"] and "colorsys" in found[
        "modules"
    ]


def test_51_wide_paths_and_other_languages(tmp_path, picture, command, monkeypatch):
    """A home and a picture whose names have blanks, letters beyond ASCII and great length; read
    from a folder elsewhere.
    """
    folder = tmp_path / "mit Ümlaut und 数字" / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    monkeypatch.setenv("MNIST_NB_HOME", str(folder))
    (folder / "sieben – 七.png").write_bytes(Path(picture).read_bytes())
    said = command(
        "predict",
        "sieben – 七.png",
        cwd=folder,
        encoding="utf8",
        env=os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "utf8"},
    ).stdout
    assert said.startswith("sieben – 七.png: 7 (")
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    narrow = command("predict", "sieben – 七.png", cwd=folder, encoding="cp1252")
    assert (
        narrow.returncode == 0
        and narrow.stdout.startswith("sieben – \\u4e03.png: 7 (")
        and not narrow.stderr
    )
    missing = command("predict", "八.png", cwd=folder, encoding="cp1252")
    assert (
        missing.returncode == 5
        and missing.stdout == ""
        and "No such file" in missing.stderr
        and "Traceback" not in missing.stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["models", "list"],
        ["models", "use", "pretrained"],
        ["corrections", "list"],
        ["stop"],
        ["export", "--format", "litert"],
    ],
    ids=" ".join,
)
def test_51_a_home_behind_a_link(tmp_path, command, monkeypatch, data_file, arguments):
    real, link = tmp_path / "ein Ort", tmp_path / "link"
    real.mkdir()
    try:
        link.symlink_to(real, target_is_directory=True)
    except OSError:
        link = real
    monkeypatch.setenv("MNIST_NB_HOME", str(link))
    monkeypatch.setenv("MNIST_NB_DATA", str(data_file))
    (tmp_path / "ü x").mkdir()
    done = command(*arguments, cwd=tmp_path / "ü x")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    if arguments == ["info"]:
        assert str(link) in done.stdout
