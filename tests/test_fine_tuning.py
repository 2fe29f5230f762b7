"""Fine-tuning from end to end: a strange style is learnt, MNIST is not forgotten, and
wrong labels do no quiet harm.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from mnist_nb.model.registry import ModelRegistry
from mnist_nb.reader import Reader
from mnist_nb.training.corrections import Corrections
from mnist_nb.training.fine_tuning import fine_tune


def strange_seven(rng):
    "The strokes of a seven with a hook at its top and a foot."
    lean = rng.uniform(12, 22)
    foot = rng.uniform(18, 28)
    hook = rng.uniform(10, 18)
    top = [(8, 20 + hook), (10, 18), (55 + rng.normal(0, 3), 16 + rng.normal(0, 2))]
    return [
        [*top, (50 - lean / 2, 50 + rng.normal(0, 2)), (46 - lean, 92)],
        [(46 - lean - foot, 92), (46 - lean + foot, 92 + rng.normal(0, 2))],
    ]


def test_fifty_strange_sevens_are_learnt(home, mnist):
    """Among half as many of MNIST's digits as elsewhere: fewer steps to learn them in, and fewer
    digits to keep the rest by.
    """
    mnist = replace(
        mnist, train_images=mnist.train_images[:9000], train_labels=mnist.train_labels[:9000]
    )
    rng = np.random.default_rng(0)
    reader = Reader.load("pretrained")
    corrections = Corrections()
    registry = ModelRegistry()
    for strokes in (strange_seven(rng) for _ in range(50)):
        corrections.add(reader.read_strokes(strokes), 7, source="drawing", strokes=strokes)
    fine_tuned = fine_tune(corrections.list(), "pretrained", registry, mnist)
    new = Reader.load(fine_tuned.version, registry)
    others = [strange_seven(rng) for _ in range(50)]
    assert np.mean([new.read_strokes(strokes).digit == 7 for strokes in others]) >= 0.9
    rows = {name: (before, after) for name, before, after in fine_tuned.rows}
    assert rows["MNIST, test"][0] - rows["MNIST, test"][1] <= 0.001
    assert rows["corrections, held out"][1] > rows["corrections, held out"][0]
    assert registry.current() == "pretrained"
    assert (
        json.loads((registry.path(fine_tuned.version) / "fine_tuning.json").read_text())["version"]
        == fine_tuned.version
    )


@pytest.mark.slow
def test_wrong_labels_do_no_quiet_harm(home, mnist):
    reader, corrections = Reader.load("pretrained"), Corrections()
    sevens = mnist.test_images[mnist.test_labels == 7][:60]
    for reading in reader.read_many(sevens):
        corrections.add(reading, 1)
    fine_tuned = fine_tune(corrections.list(), "pretrained", ModelRegistry(), mnist)
    fallen = max(
        before - after for name, before, after in fine_tuned.rows if name.startswith("MNIST")
    )
    assert fallen <= 0.001 or fine_tuned.warning
