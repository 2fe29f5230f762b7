"""The whole path: a small training, its version in the store, chosen, read with, judged; stopped,
and killed while a version is saved.
"""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from mnist_nb import Reader
from mnist_nb.core import DataError, ImageError, ModelNotFound, TrainingError
from mnist_nb.model.network import load_keras, network_input
from mnist_nb.model.registry import ModelRegistry, add_version
from tests.serving import APART, ENDINGS, at_home

BOUND = 180
FILES = {
    "model.keras",
    "model.tflite",
    "report.json",
    "history.csv",
    "config.json",
    "reading.json",
    "README.md",
}


def parsed(text):
    "JSON that any program could read: NaN and infinities are none."

    def refuse(name):
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def bounded(*words):
    "A process whose output is read line by line, and which is ended where it takes too long."
    process = subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **APART
    )
    timer = threading.Timer(BOUND, process.kill)
    timer.daemon = True
    timer.start()
    return process


def read_until(process, kind):
    "The events that a process prints, up to the first of a kind."
    events = []
    for line in process.stdout:
        events.append(parsed(line))
        if events[-1]["kind"] == kind:
            return events
    pytest.fail(f"no event of kind {kind!r}: {process.stderr.read()}")


@pytest.fixture
def made(trained, monkeypatch, data_file):
    "A small trained version, in the home where it is."
    monkeypatch.setenv("MNIST_NB_HOME", str(trained[0]))
    monkeypatch.setenv("MNIST_NB_DATA", str(data_file))
    return trained[1]


@pytest.fixture(scope="module")
def evaluated(trained, data_file, command):
    "The accuracy of the small trained version on the 10,000 test digits, from the command line."
    home, made = trained
    with at_home(home, data_file):
        answer = parsed(command("evaluate", "--json", "--model", made.version).stdout)
    assert answer["version"] == made.version and answer["images"] == 10000
    return answer["accuracy"]


def test_a_training_becomes_a_complete_version(made, mnist):
    folder = ModelRegistry().path(made.version)
    assert {path.name for path in folder.iterdir()} == FILES
    assert made.reason == "finished" and not made.current and 0.5 < made.test_accuracy < 1
    keras = np.asarray(load_keras(folder / "model.keras")(network_input(mnist.test_images[:100])))
    np.testing.assert_allclose(
        Reader.load(made.version).network.probabilities(mnist.test_images[:100]), keras, atol=1e-5
    )


def test_models_list_use_and_rollback(made, command):
    def current():
        rows = parsed(command("models", "list", "--json").stdout)
        assert {row["version"] for row in rows} == {"pretrained", made.version}
        return [row["version"] for row in rows if row["current"]]

    assert current() == ["pretrained"]
    assert parsed(command("models", "use", made.version, "--json").stdout) == {
        "current": made.version
    }
    assert current() == [made.version]
    assert f"* {made.version}" in command("models", "list").stdout
    assert parsed(command("models", "rollback", "--json").stdout) == {"current": "pretrained"}
    assert current() == ["pretrained"]


def test_models_compare(made, evaluated, command):
    """A network of 2,000 digits is worse than the shipped one, on the 10,000 and everywhere
    else, and by more than chance.
    """
    words = "models", "compare", made.version, "pretrained", "--digits", "20"
    found = parsed(command(*words, "--json").stdout)
    first, second = found["only"]
    assert (
        found["better"] == "pretrained"
        and found["chance"] < 1e-9
        and found["versions"] == [made.version, "pretrained"]
    )
    assert (
        found["accuracy"] == pytest.approx([evaluated, evaluated + (second - first) / 10000])
        and len(found["differing"]) >= first + second
    )
    for table in (found["framing"], found["distortion"]):
        assert np.diff(np.sum([*table.values()], 0)) > 0


@pytest.mark.slow
def test_models_compare_for_people(made, command):
    words = "models", "compare", made.version, "pretrained", "--digits", "20"
    assert "pretrained is better" in command(*words).stdout.splitlines()[0]


def test_predict_with_a_version(made, command, picture):
    answer = parsed(command("predict", picture, "--model", made.version, "--json").stdout)
    reading = Reader.load(made.version).read(picture)
    assert answer["model"] == made.version and answer["digit"] == reading.digit
    assert answer["probabilities"] == pytest.approx(list(reading.probabilities)) and sum(
        answer["probabilities"]
    ) == pytest.approx(1)
    assert command("predict", picture, "--model", "pretrained").stdout.startswith(f"{picture}: 7 (")


def test_evaluate_a_version(made, evaluated):
    assert evaluated == pytest.approx(made.test_accuracy, abs=0.05)


def test_evaluate_the_shipped_version(home, command):
    assert parsed(command("evaluate", "--json").stdout)["accuracy"] >= 0.995


def test_sigterm_keeps_a_model(home, program):
    small = "--non-digits", "0", "--evaluation-digits", "200"
    process = bounded(program, "train", "--preset", "quick", *small, "--json")
    read_until(process, "batch")
    process.send_signal(ENDINGS[0])
    said, trouble = process.communicate()
    assert process.returncode == 0, trouble
    assert "Traceback" not in trouble and "stopping" in trouble
    events = [parsed(line) for line in said.splitlines()]
    kinds = [event["kind"] for event in events]
    ended, saved = (events[kinds.index(kind)] for kind in ("end", "saved"))
    kept = events[-1]
    assert ended["reason"] == kept["reason"] == "stopped" and kept["kind"] == "kept"
    assert saved["version"] == kept["version"] and kept["in_use"] == "pretrained"
    assert events[-2] == {"kind": "evaluation", "part": "test", "done": 600, "total": 600}
    registry = ModelRegistry()
    assert (
        registry.current() == "pretrained"
        and {path.name for path in registry.path(kept["version"]).iterdir()} == FILES
    )


KILLED_WHILE_SAVING = """
import os, signal
from mnist_nb.model.registry import ModelRegistry, add_version
def fill(folder):
    (folder/'config.json').write_text('{')
    os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))
add_version(ModelRegistry(), 'killed', fill)
"""


def test_kill_while_a_version_is_saved(home):
    assert subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING], timeout=BOUND).returncode < 0
    registry = ModelRegistry()
    assert registry.versions() == ["pretrained"] and Reader.load().version == "pretrained"
    version = add_version(
        registry, "next", lambda folder: (folder / "config.json").write_text("{}")
    )
    assert {path.name for path in registry.folder.iterdir()} <= {version, ".lock"}


@pytest.mark.parametrize(
    "arguments, code, word",
    [
        (["train", "--epochs", "-1"], 2, "epochs"),
        (["train", "--epochs", "0", "--batch-size", "0"], 2, "batch_size"),
        (["train", "--learning-rate", "nan"], 2, "learning_rate"),
        (["train", "--preset", "best"], 2, "quick"),
        (["train", "--strategy", "everywhere"], 2, "strategy: expected None or 'mirrored'"),
        (["train", "--resume"], TrainingError.exit_code, "mnist_nb train"),
        (["predict", "nothing.png"], ImageError.exit_code, "nothing.png"),
        (["predict", __file__], ImageError.exit_code, __file__),
        (["predict", "."], ImageError.exit_code, "."),
        (["predict", __file__, "--model", "none"], ModelNotFound.exit_code, "pretrained"),
        (["evaluate", "--model", "../models"], ModelNotFound.exit_code, "pretrained"),
        (["models", "use", "none"], ModelNotFound.exit_code, "pretrained"),
        (["models", "rollback"], ModelNotFound.exit_code, "nothing to go back to"),
        (["train", "--data", __file__], DataError.exit_code, __file__),
    ],
    ids=lambda value: (
        " ".join(value) if isinstance(value, list) and __file__ not in value else None
    ),
)
def test_wrong_input(home, command, one_line, arguments, code, word):
    line = one_line(command(*arguments), code)
    assert line.startswith("mnist_nb: ") and word in line


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", b"gone\n"], ids=["bytes", "no such version"])
def test_damaged_pointer_to_the_current_version(home, command, one_line, picture, damage):
    ModelRegistry().folder.mkdir(parents=True)
    (ModelRegistry().folder / "current").write_bytes(damage)
    assert "models" in one_line(command("predict", picture), ModelNotFound.exit_code)
    assert command("models", "use", "pretrained").returncode == 0
    assert command("predict", picture).stdout.startswith(f"{picture}: 7 (")
