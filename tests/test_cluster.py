"""Ray, started on this machine: what it answers is what one process answers.

The notebook on clusters shows the same in Python; here it is by command, in every detail.
"""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from PIL import Image

from mnist_nb import cli, cluster
from mnist_nb.data.mnist import split
from mnist_nb.training.config import configure
from mnist_nb.training.trainer import train

TINY = {"epochs": 1, "dense": 8, "non_digits": 0.0, "augmentation": 0.0}


@pytest.fixture
def ray(home):
    "Ray, which ends with the test."
    ray = cluster.import_ray()
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_predict_on_ray(home, mnist, command, tmp_path):
    for at, image in enumerate(mnist.test_images[:40]):
        Image.fromarray(image).save(tmp_path / f"{at:02}.png")
    (tmp_path / "07.png").write_bytes(b"no picture")
    alone, together = (command("predict", tmp_path, "--json", *words) for words in ((), ("--ray",)))
    assert (
        (alone.returncode, together.returncode) == (5, 5)
        and alone.stderr in together.stderr
        and "07.png" in alone.stderr
    )
    rows = [[json.loads(line) for line in done.stdout.splitlines()] for done in (alone, together)]
    assert len(rows[0]) == 40 and [row["image"] for row in rows[0]] == [
        row["image"] for row in rows[1]
    ]
    for one, other in zip(*rows, strict=True):
        assert one.get("digit") == other.get("digit") and one.get(
            "probabilities", []
        ) == pytest.approx(other.get("probabilities", []), abs=1e-6)


@pytest.mark.slow
def test_sweep_on_ray(ray, mnist, monkeypatch):
    "Each training on Ray ends where the same one ends in this process."
    few = replace(
        mnist, train_images=mnist.train_images[:600], train_labels=mnist.train_labels[:600]
    )
    monkeypatch.setattr(cluster, "load_mnist", lambda: few)
    words = [f"{name}={value}" for name, value in TINY.items()]
    done = CliRunner().invoke(
        cli.main,
        ["sweep", *words, "learning_rate=1e-6,4e-3", "--seeds", "1", "--cores", "1", "--json"],
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    assert [row["changes"]["learning_rate"] for row in rows] == [4e-3, 1e-6] and rows[0][
        "mean"
    ] > rows[1]["mean"]
    parts = split(few.train_images, few.train_labels)
    for row in rows:
        here = train(configure("quick", **row["changes"] | {"seed": 0}), *parts)
        assert row["accuracies"] == pytest.approx(
            [here.history[-1]["validation_accuracy"]], abs=0.01
        )
