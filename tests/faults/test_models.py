"""Missing, damaged or hostile model files are refused in one line, and left as they are."""

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from mnist_nb import MNISTClassifier, Reader
from mnist_nb.core import ModelCorrupt, ModelError, ModelNotFound
from mnist_nb.model.network import (
    LiteRTModel,
    build_model,
    convert_to_litert,
    import_keras,
    load_keras,
    network_input,
    save_keras,
)
from mnist_nb.model.registry import ModelRegistry, set_current
from mnist_nb.training import pipeline
from mnist_nb.training.config import TrainingConfig
from mnist_nb.training.jobs import train_version
from mnist_nb.training.pipeline import should_promote

SHIPPED = ModelRegistry().pretrained


def flipped(content, at):
    "The same bytes but for one."
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def without(content, member):
    "A zip file without one of its members."
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
    return file.getvalue()


def read_member(content, member):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(member)


def with_members(content, members):
    "A zip file with other contents of some of its members."
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, members.get(name, old.read(name)))
    return file.getvalue()


def led_outside(content, kind, elsewhere):
    "An HDF5 file, one of whose arrays is in another file of the machine."
    file, names = io.BytesIO(content), []
    with h5py.File(file, "r+") as archive:
        archive.visititems(
            lambda name, found: (
                names.append(name)
                if isinstance(found, h5py.Dataset) and found.size > 1000
                else None
            )
        )
        values = archive[names[0]][:]
        del archive[names[0]]
        if kind == "link":
            with h5py.File(elsewhere, "w") as other:
                other["values"] = values
            archive[names[0]] = h5py.ExternalLink(str(elsewhere), "values")
        else:
            elsewhere.write_bytes(values.tobytes())
            archive.create_dataset(
                names[0],
                values.shape,
                values.dtype,
                external=[(str(elsewhere), 0, h5py.h5f.UNLIMITED)],
            )
    return file.getvalue()


def saved(model, path):
    "The bytes that a model is saved as."
    model.save(path)
    return path.read_bytes()


def small(classes=10, side=28):
    "A small network for so many classes, and for pictures of this side."
    keras = import_keras()
    return keras.Sequential(
        [
            keras.Input((side, side, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )


def with_code(canary):
    "A network with Python code in it that makes the folder `canary`."
    keras = import_keras()
    trap = keras.layers.Lambda(
        lambda values, canary=canary: (__import__("os").makedirs(canary, exist_ok=True), values)[1],
        output_shape=(28, 28, 1),
    )
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            trap,
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model(np.zeros((1, 28, 28, 1)))
    os.rmdir(canary)
    return model


class Pickled:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.makedirs, (self.canary,)


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    return str(tmp_path_factory.mktemp("trap") / "canary")


@pytest.fixture(scope="module")
def bad_files(canary, tmp_path_factory):
    "Bad model files by name; those without content are missing."
    folder, files = tmp_path_factory.mktemp("good"), {}
    keras, h5, light = (
        (SHIPPED / "model.keras").read_bytes(),
        saved(small(), folder / "ten.h5"),
        (SHIPPED / "model.tflite").read_bytes(),
    )
    for suffix, content in ((".keras", keras), (".h5", h5), (".tflite", light)):
        files |= {
            f"missing{suffix}": None,
            f"empty{suffix}": b"",
            f"text{suffix}": b"not a model\n" * 100,
            f"truncated{suffix}": content[: len(content) // 2],
            f"short{suffix}": content[:-100],
        }
        files[f"pickle{suffix}"] = pickle.dumps(Pickled(canary))
    files |= {
        "flipped.keras": flipped(keras, len(keras) // 2),
        "flipped.h5": flipped(h5, 10),
        "flipped.tflite": flipped(light, len(light) // 2),
        "flipped start.tflite": flipped(light, 4),
        "flipped end.tflite": flipped(light, len(light) - 8),
    }
    config = json.loads(read_member(keras, "config.json"))
    config["config"]["layers"][1]["class_name"] = "ConvOfTomorrow"
    changed = {
        "newer": {
            "config.json": json.dumps(config).encode(),
            "metadata.json": b'{"keras_version": "99.1.0"}',
        },
        "bomb": {"config.json": b'{"a": "' + b"a" * 200_000_000 + b'"}'},
    }
    for kind in ("link", "storage"):
        changed[kind] = {
            "model.weights.h5": led_outside(
                read_member(keras, "model.weights.h5"), kind, folder / f"{kind}.bin"
            )
        }
    files |= {
        f"{name}.keras": with_members(keras, members) for name, members in changed.items()
    } | {"link.h5": led_outside(h5, "link", folder / "own.bin")}
    files |= {
        "no config.keras": without(keras, "config.json"),
        "no weights.keras": without(keras, "model.weights.h5"),
    }
    for name, model in {
        "nine": small(classes=9),
        "wide": small(side=30),
        "code": with_code(canary),
    }.items():
        files |= {
            f"{name}{suffix}": saved(model, folder / f"{name}{suffix}")
            for suffix in (".keras", ".h5")
        }
        if name != "code":
            files[f"{name}.tflite"] = convert_to_litert(model)
    return files


KERAS = [
    f"{name}{suffix}"
    for name in (
        "missing",
        "empty",
        "text",
        "truncated",
        "short",
        "flipped",
        "pickle",
        "nine",
        "wide",
        "code",
    )
    for suffix in (".keras", ".h5")
] + [
    "no config.keras",
    "no weights.keras",
    "newer.keras",
    "bomb.keras",
    "link.keras",
    "storage.keras",
    "link.h5",
]
LIGHT = [
    f"{name}.tflite"
    for name in (
        "missing",
        "empty",
        "text",
        "truncated",
        "short",
        "flipped",
        "flipped start",
        "flipped end",
        "pickle",
        "nine",
        "wide",
    )
]


def lay_out(content, path):
    "Put a file where it will be looked for."
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


def untouched(content, path):
    "Whether a file is as it was laid out."
    return not path.exists() if content is None else path.read_bytes() == content


def check_line(text, path):
    "An error is one line of a bearable length that names the file and says what to do."
    assert "\n" not in text and len(text) < 1000
    assert str(path) in text and "`mnist_nb " in text


def test_every_bad_file_is_tried(bad_files):
    assert set(bad_files) == {*KERAS, *LIGHT}


@pytest.mark.parametrize("name", KERAS)
def test_43_44_45_load_keras(bad_files, canary, tmp_path, name):
    path = tmp_path / f"model{Path(name).suffix}"
    lay_out(bad_files[name], path)
    with pytest.raises(ModelError) as caught:
        load_keras(path)
    check_line(str(caught.value), path)
    assert isinstance(caught.value, ModelNotFound if bad_files[name] is None else ModelCorrupt)
    assert bad_files[name] is None or "File not found" not in str(caught.value)
    assert (name == "newer.keras") == ("Keras 99.1.0" in str(caught.value)) and (
        name == "bomb.keras"
    ) == ("it unpacks to" in str(caught.value))
    assert untouched(bad_files[name], path) and not os.path.exists(canary)


@pytest.mark.parametrize(
    "name", [name for name in LIGHT if name not in ("missing.tflite", "flipped.tflite")]
)
def test_43_44_45_light_model(bad_files, name):
    """Each but the one in which only a weight differs, which needs more than the file itself to be
    found out.
    """
    with pytest.raises(ModelCorrupt) as caught:
        LiteRTModel(bad_files[name], name)
    check_line(str(caught.value), name)


@pytest.mark.parametrize("name", ["missing.keras", "missing.h5"])
def test_42_classifier_without_a_file(tmp_path, name):
    with pytest.raises(ModelNotFound, match=name):
        MNISTClassifier().load_model(tmp_path / name)


@pytest.fixture
def version(home):
    "A version that is a copy of the shipped one; returns its folder."
    folder = ModelRegistry().folder / "20260101-000000-copy"
    shutil.copytree(SHIPPED, folder)
    return folder


@pytest.mark.parametrize("name", LIGHT)
def test_43_44_45_reader(bad_files, version, name):
    path = version / "model.tflite"
    lay_out(bad_files[name], path)
    with pytest.raises(ModelCorrupt) as caught:
        Reader.load(version.name)
    check_line(str(caught.value), path)
    assert untouched(bad_files[name], path)


@pytest.mark.parametrize("name", LIGHT)
def test_43_44_45_command(bad_files, version, command, one_line, picture, name):
    path = version / "model.tflite"
    lay_out(bad_files[name], path)
    check_line(
        one_line(command("predict", picture, "--model", version.name), ModelError.exit_code), path
    )
    assert untouched(bad_files[name], path)


def test_43_evaluate_with_a_damaged_version(version, command, one_line):
    (version / "model.tflite").write_bytes(b"")
    check_line(
        one_line(command("evaluate", "--json", "--model", version.name), ModelError.exit_code),
        version / "model.tflite",
    )


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"null", b"[1]", b"\xff"])
def test_43_damaged_records(version, command, one_line, content):
    for name in ("config.json", "report.json"):
        (version / name).write_bytes(content)
    assert command("models", "use", version.name).returncode == 0
    check_line(one_line(command("info"), ModelError.exit_code), version)
    assert "damaged" in command("models", "list").stdout


def test_43_a_damaged_version_does_not_hinder_the_others(version, command, picture):
    (version / "model.tflite").write_bytes(b"")
    assert command("models", "list").stdout.count("\n") == 2
    assert ": 7 (" in command("predict", picture).stdout


@pytest.mark.parametrize("damaged", ["model.tflite", "reading.json"])
def test_43_a_version_that_can_be_read_replaces_a_damaged_one(version, tiny_mnist, damaged):
    set_current(ModelRegistry(), version.name)
    (version / damaged).write_bytes(b"")
    decision = should_promote("pretrained", ModelRegistry(), tiny_mnist)
    assert decision.promote and "cannot be read" in decision.reason


def test_48_only_a_difference_beyond_chance_promotes(version, trained, tiny_mnist, monkeypatch):
    """A weak version does not replace the shipped one, which replaces it. A copy
    of the shipped one is as good as it.
    """
    monkeypatch.setattr(pipeline, "TABLE_DIGITS", 10)
    weak = ModelRegistry(trained[0] / "models")
    shutil.copytree(weak.path(trained[1].version), version.parent / "weak")
    registry = ModelRegistry()
    worse = should_promote("weak", registry, tiny_mnist)
    assert not worse.promote and "pretrained misses" in worse.reason and not worse.tables
    equal = should_promote(version.name, registry, tiny_mnist)
    assert equal.promote and equal.tables[0] == equal.tables[1]
    set_current(registry, "weak")
    assert should_promote("pretrained", registry, tiny_mnist).promote


def test_48_a_version_as_good_on_digits_and_worse_in_a_table_is_not_promoted(
    version, tiny_mnist, monkeypatch
):
    tables = iter(
        [{"redrawn digits": 0.9, "refused": 0.9}, {"redrawn digits": 1.0, "refused": 0.8}]
    )
    monkeypatch.setattr(pipeline, "reader_tables", lambda *_: next(tables))
    decision = should_promote(version.name, ModelRegistry(), tiny_mnist)
    assert not decision.promote and "worse at refused (90.00% before" in decision.reason


def test_43_a_training_replaces_a_damaged_version(version, tiny_mnist):
    set_current(ModelRegistry(), version.name)
    damaged = "model.tflite"
    (version / damaged).write_bytes(b"")
    kept = train_version(TrainingConfig(epochs=1, dense=8), "small", mnist=tiny_mnist)
    assert (
        kept.current
        and ModelRegistry().current() == kept.version
        and Reader.load().version == kept.version
        and (version / damaged).read_bytes() == b""
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_round_trip(mnist, tmp_path, suffix):
    model = build_model(normalisation="batch", dense=16)
    save_keras(model, tmp_path / f"model{suffix}")
    inputs = network_input(mnist.test_images[:20])
    np.testing.assert_array_equal(
        *(network(inputs).numpy() for network in (model, load_keras(tmp_path / f"model{suffix}")))
    )
    assert [path.name for path in tmp_path.iterdir()] == [f"model{suffix}"]


@pytest.mark.parametrize("name", ["mnist_model.h5", "model.keras"])
def test_classifier_round_trip(mnist, tmp_path, name):
    first, second = MNISTClassifier(), MNISTClassifier()
    first.build_model()
    first.save_model(tmp_path / name)
    second.load_model(tmp_path / name)
    digit, confidence, probabilities = second.predict_digit(mnist.test_images[0])
    np.testing.assert_array_equal(probabilities, first.predict_digit(mnist.test_images[0])[2])
    assert confidence == pytest.approx(probabilities.max()) and digit == probabilities.argmax()
