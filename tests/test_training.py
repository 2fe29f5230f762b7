"""Trainings in full: steered from the command line, killed and gone on with; taught by others; on
several devices.
"""

import csv
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import mnist_nb
from mnist_nb import Reader, train_version
from mnist_nb.core import TrainingError
from mnist_nb.model.registry import ModelRegistry
from mnist_nb.training.config import PRESETS, TrainingConfig
from mnist_nb.training.pipeline import code_hash
from tests.serving import at_home
from tests.test_main_path import BOUND, FILES, bounded, parsed, read_until

TRAINING = """
import json, sys
from mnist_nb import load_mnist, train_version
from mnist_nb.data.mnist import Mnist
from mnist_nb.training.config import TrainingConfig
full = load_mnist()
tiny = Mnist(full.train_images[:2000], full.train_labels[:2000], full.test_images[:1000],
    full.test_labels[:1000])
train_version(TrainingConfig(**json.loads(sys.argv[1])), 'tiny', mnist=tiny,
    on_event=lambda event: print(json.dumps(event), flush=True))
"""


@pytest.fixture
def started(home):
    """Starts small trainings, each in a process of its own that tells its events, and ends those
    that still run.
    """
    processes = []

    def start(config):
        processes.append(bounded(sys.executable, "-c", TRAINING, json.dumps(asdict(config))))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def epochs_of(folder):
    "The rows of a history.csv."
    with open(folder / "history.csv") as file:
        return [*csv.DictReader(file)]


def test_steered_from_the_command_line_killed_and_gone_on_with(started, command, tiny_mnist):
    "Whoever pauses, changes and prolongs a training that is then killed finds all of it again."
    process = started(TrainingConfig(epochs=900, batch_size=32, dense=16))
    read_until(process, "batch")
    given = [
        ("paused", True, ["pause"]),
        ("learning_rate", 1e-6, ["set", "learning_rate", "1e-6"]),
        ("dropout", 0.1, ["set", "dropout", ".1"]),
        ("augmentation", 0.2, ["set", "augmentation", ".2"]),
        ("epochs", 901, ["extend"]),
        ("paused", False, ["resume"]),
    ]
    for name, value, words in given:
        assert parsed(command("steer", *words, "--json").stdout)["job"].endswith("-tiny")
        change = read_until(process, "change")[-1]
        assert (change["name"], change["value"]) == (name, value)
    row = read_until(process, "epoch")[-1]
    read_until(process, "batch")
    process.kill()
    process.communicate()
    assert ModelRegistry().versions() == ["pretrained"]
    events = []
    kept = train_version(
        None,
        mnist=tiny_mnist,
        on_event=events.append,
        stop=lambda: any(event["kind"] == "epoch" for event in events),
    )
    folder = ModelRegistry().path(kept.version)
    assert [event["kind"] for event in events[:2]] == ["job", "start"]
    assert kept.reason == "stopped" and (events[1]["first"], events[1]["epochs"]) == (
        row["epoch"] + 1,
        901,
    )
    rows = epochs_of(folder)
    last = rows[-1]
    assert [int(each["epoch"]) for each in rows] == [*range(1, row["epoch"] + 2)]
    assert float(last["learning_rate"]) <= 1e-6 and (last["dropout"], last["augmentation"]) == (
        "0.1",
        "0.2",
    )
    assert [
        (one["name"], one["value"])
        for one in parsed((folder / "config.json").read_text())["changes"]
    ] == [(name, value) for name, value, _ in given]
    assert "with the changes that config.json lists" in (folder / "README.md").read_text()


def test_the_record_is_taught_killed_and_gone_on_with(started, tiny_mnist):
    "A killed teacher goes on where it was, and one that had ended does not learn again."
    config = replace(
        PRESETS["record"], epochs=1, teachers=2, batch_size=50, dense=16, augmentation=0.0
    )
    process = started(config)
    before = read_until(process, "end")
    assert {event["network"] for event in before[1:]} == {1} and before[-1]["reason"] == "finished"
    assert read_until(process, "batch")[-1]["network"] == 2
    process.kill()
    process.communicate()
    events = []
    kept = train_version(None, mnist=tiny_mnist, on_event=events.append)
    assert [(event["network"], event["epoch"]) for event in events if event["kind"] == "epoch"] == [
        (2, 1),
        (3, 1),
    ]
    folder = ModelRegistry().path(kept.version)
    assert (
        kept.reason == "finished"
        and {path.name for path in folder.iterdir()} == FILES
        and len(epochs_of(folder)) == 1
    )
    assert parsed((folder / "config.json").read_text())["epochs_done"] == 1
    assert "distilled from 2 networks of its kind" in (folder / "README.md").read_text() and not [
        *folder.parent.parent.glob("jobs/**/state.npz")
    ]
    with pytest.raises(TrainingError):
        train_version(None, mnist=tiny_mnist)


def test_a_version_tells_the_code_that_made_it(trained, data_file, command):
    home, version = trained
    with at_home(home, data_file):
        rows = parsed(command("models", "list", "--json").stdout)
        made, shipped = (
            next(row for row in rows if row["version"] == name)
            for name in (version.version, "pretrained")
        )
        code = code_hash(Path(mnist_nb.__file__).parent)
        assert made["code"] == code and len(code) == len(shipped["code"]) == 64
        assert f"code {code[:8]}" in command("models", "list").stdout
        assert code[:12] in (ModelRegistry().path(made["version"]) / "README.md").read_text()


MIRRORED = """
import json, tempfile, threading
from dataclasses import replace
from mnist_nb.data.mnist import load_mnist, split
from mnist_nb.model.network import import_keras
from mnist_nb.training.config import TrainingConfig
from mnist_nb.training.trainer import Learner, resume, train
import_keras()
import tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0],
    [tf.config.LogicalDeviceConfiguration()]*2)
mnist = load_mnist()
parts = split(mnist.train_images[:3000], mnist.train_labels[:3000], 1000)
config = TrainingConfig(epochs=2, batch_size=50, ema_decay=.9, dropout=0., strategy='mirrored')
def away(one, other): return max(abs(a['loss']/b['loss'] - 1) for a, b in zip(one, other))
def watched(config):
    events = []
    trained = train(config, *parts, on_event=events.append)
    return trained, [event for event in events if event['kind'] == 'batch']
(both, steps), (alone, others) = watched(config), watched(replace(config, strategy=None))
with tempfile.TemporaryDirectory() as folder:
    pressed = threading.Event()
    train(config, *parts, folder, stop=pressed.is_set,
        on_event=lambda event: event['kind'] == 'epoch' and pressed.set())
    resumed = resume(folder, *parts)
further = train(replace(config, epochs=1, teachers=1), *parts, model=both.model)
try: Learner(replace(config, batch_size=1))
except ValueError as e: refused = str(e)
print(json.dumps(dict(devices=Learner(config).strategy.num_replicas_in_sync, first=away(steps[:5],
    others[:5]), last=away(both.history, alone.history),
                      resumed=away(both.history, resumed.history), refused=refused,
                      accuracies=[one.history[-1]['validation_accuracy'] for one in (both, alone,
                          further)])))
"""


@pytest.mark.slow
def test_two_devices_learn_as_one(home):
    """The same batches, shared among two devices, give the same steps (until rounding has grown to
    a difference), and a network that is stopped, resumed and gone on with as any other.
    """
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED], capture_output=True, text=True, timeout=BOUND
    )
    assert done.returncode == 0, done.stderr
    found = parsed(done.stdout.splitlines()[-1])
    assert (
        found["devices"] == 2
        and found["first"] < 1e-5
        and found["last"] < 0.05
        and found["resumed"] < 1e-3
    )
    assert min(found["accuracies"]) > 0.8 and found["refused"].startswith(
        "batch_size: expected at least 2"
    )


@pytest.mark.slow
def test_a_network_of_two_devices_is_kept(home, tiny_mnist, mnist):
    kept = train_version(
        TrainingConfig(epochs=1, batch_size=50, strategy="mirrored"), "tiny", mnist=tiny_mnist
    )
    assert Reader.load(kept.version).read(mnist.test_images[0]).model == kept.version
