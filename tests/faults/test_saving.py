"""Whatever is written is there whole or not at all, whenever the writer is killed; a training that
comes to nothing changes nothing.
"""

import errno
import os
import shutil
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from mnist_nb.core import DiskFull, MnistNbError, TrainingError, write_atomic
from mnist_nb.data.mnist import load_mnist
from mnist_nb.model.registry import ModelRegistry, add_version, rollback, set_current
from mnist_nb.reader import Reader
from mnist_nb.training import pipeline
from mnist_nb.training.config import TrainingConfig
from mnist_nb.training.corrections import Corrections
from mnist_nb.training.jobs import Jobs, train_version
from tests.endurance import kills
from tests.serving import at_home


def test_39_killed_while_saving(home):
    """A whole version is in use after each kill; what is left lying about is swept away by the next
    who saves, an hour later where it could be somebody's at work.
    """
    assert kills(5) == {"kills": 5, "lost": 0}
    registry = ModelRegistry()
    for path in registry.folder.glob(".*"):
        os.utime(path, (0, 0))
    set_current(
        registry,
        add_version(
            registry,
            "whole",
            lambda folder: shutil.copytree(registry.pretrained, folder, dirs_exist_ok=True),
        ),
    )
    assert {path.name for path in registry.folder.glob(".*")} <= {".lock", ".current.lock"}


def half(folder):
    "Fill a version until the disk is full."
    (folder / "config.json").write_text("{")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_40_a_version_that_does_not_fit(home):
    registry = ModelRegistry()
    set_current(
        registry,
        add_version(
            registry,
            "whole",
            lambda folder: shutil.copytree(registry.pretrained, folder, dirs_exist_ok=True),
        ),
    )
    before = registry.versions(), registry.current()
    with pytest.raises(DiskFull, match="No space left on device.*MNIST_NB_HOME"):
        add_version(registry, "half", half)
    assert (registry.versions(), registry.current()) == before and not list(
        registry.folder.glob(".new-*")
    )
    assert Reader.load().version == registry.current()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
def test_40_a_device_that_is_full(home, monkeypatch):
    "The operating system's own error, in the middle of the atomic writer."
    monkeypatch.setattr(
        "mnist_nb.core.Path.write_bytes",
        lambda path, content: os.write(os.open("/dev/full", os.O_WRONLY), content),
    )
    with pytest.raises(DiskFull, match="No space left"):
        write_atomic(home / "note", b"x")
    assert not list(home.rglob("*note*"))


def test_51_a_file_that_somebody_is_reading(home, monkeypatch):
    """As on Windows, where such a file cannot be replaced for an instant; played here on every
    system.
    """
    seen, real = [], os.replace

    def busy(*names):
        seen.append(names)
        if len(seen) < 3:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(*names)

    monkeypatch.setattr(os, "replace", busy)
    write_atomic(home / "note", "new")
    assert (
        len(seen) == 3
        and (home / "note").read_text() == "new"
        and [path.name for path in home.iterdir()] == ["note"]
    )


def test_48_a_loss_that_is_no_number(home, tiny_mnist, monkeypatch):
    monkeypatch.setattr(
        "mnist_nb.training.trainer.Learner.train_step", lambda *_: (float("nan"), 0)
    )
    with pytest.raises(TrainingError, match="the loss is not a number"):
        train_version(TrainingConfig(epochs=1), "diverging", mnist=tiny_mnist)
    job = Jobs().latest()
    assert job.status == "failed" and "not a number" in job.error
    assert ModelRegistry().versions() == ["pretrained"] == [ModelRegistry().current()]


def test_48_a_worse_version_is_saved_and_not_used(trained, data_file):
    home, made = trained
    with at_home(home, data_file):
        assert not made.current and ModelRegistry().current() == "pretrained" == made.in_use
        assert made.version in ModelRegistry().versions() and "pretrained misses" in made.decision


def test_38_a_training_killed_while_evaluated_does_not_train_again(home, tiny_mnist, monkeypatch):
    "Its version can be used already; resumed, it is only evaluated."

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "evaluate_fully", killed)
        with pytest.raises(KeyboardInterrupt):
            train_version(TrainingConfig(epochs=1, dense=8), "cut", mnist=tiny_mnist)
    job = Jobs().latest()
    assert job.status == "interrupted" and job.resumable
    assert Reader.load(job.version).read(tiny_mnist.test_images[0]).model == job.version
    events = []
    made = train_version(None, mnist=tiny_mnist, on_event=events.append)
    assert made.version == job.version and ModelRegistry().versions() == ["pretrained", job.version]
    assert {event["kind"] for event in events} == {"job", "saved", "evaluation"}
    assert not Jobs().latest().resumable and made.test_accuracy > 0


@contextmanager
def read_only(folder):
    "A folder that this process cannot write to, even where it is root's."
    root = os.geteuid() == 0
    for path in folder.parents:
        if root and not path.stat().st_mode & 0o005:
            path.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no mode that makes a folder read-only")
def test_41_a_home_that_may_only_be_read(empty_home, picture, mnist):
    "Everything that writes says so in one line; what only reads, works."
    registry = ModelRegistry()
    for label in ("one", "two"):
        set_current(
            registry,
            add_version(
                registry,
                label,
                lambda folder: shutil.copytree(registry.pretrained, folder, dirs_exist_ok=True),
            ),
        )
    for name in ("jobs", "data"):
        (empty_home / name).mkdir()
    reading = Reader.load().read(picture)
    acts = {
        "use": lambda: set_current(registry, "pretrained"),
        "rollback": lambda: rollback(registry),
        "add": lambda: add_version(registry, "new", half),
        "train": lambda: Jobs(server="").start("quick"),
        "correct": lambda: Corrections().add(reading, 1),
        "load": lambda: load_mnist(on_event=lambda event: None),
    }
    with read_only(empty_home):
        for name, act in acts.items():
            with pytest.raises(MnistNbError, match="MNIST_NB_HOME") as caught:
                act()
            assert str(empty_home) in str(caught.value) and "\n" not in str(caught.value), name
        assert (
            Reader.load().version == registry.current() != "pretrained"
            and Reader.load().read(np.asarray(reading.picture)).digit == 7
        )


def test_41_home_that_cannot_be_written(home, command, one_line, tmp_path, monkeypatch, picture):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNIST_NB_HOME", str(tmp_path / "file"))
    line = one_line(command("models", "use", "pretrained"), 1)
    assert "MNIST_NB_HOME" in line and str(tmp_path / "file") in line
    assert command("predict", picture).stdout.startswith(f"{picture}: 7 (")
