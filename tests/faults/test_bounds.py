"""How much each way of handing in a digit may cost, held against the table that is shipped with the
network.
"""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mnist_nb.analysis.robustness import CONDITIONS, framing_benchmark, redraw
from mnist_nb.model.registry import ModelRegistry
from mnist_nb.reader import Reader

DIGITS = 250
LOSS = 0.015


@pytest.fixture(scope="module")
def found(mnist):
    return framing_benchmark(
        Reader.load("pretrained"), mnist.test_images[:DIGITS], mnist.test_labels[:DIGITS]
    )


@pytest.mark.parametrize("name", CONDITIONS)
def test_18_no_way_costs_more_than_the_table_says(found, name):
    table = json.loads((ModelRegistry().pretrained / "tables.json").read_text())["framing"]
    assert (
        found[name]["accuracy"] >= table[name]["accuracy"] - LOSS
        and table[name]["accuracy"] >= 0.985
    )


def harsh(image, seed):
    "A digit as a small file: JPEG of quality 30, anywhere, written with a pen of a random width."
    rng, content = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(
        255 - redraw(image, rng.uniform(0.3, 0.9), rng.random(2), rng.uniform(-1, 2))
    ).save(content, "JPEG", quality=30)
    return content.getvalue()


def test_18_small_files(mnist):
    readings = Reader.load("pretrained").read_many(
        harsh(image, seed) for seed, image in enumerate(mnist.test_images[:DIGITS])
    )
    assert (
        np.mean(
            [
                reading.probabilities.argmax() == label
                for reading, label in zip(readings, mnist.test_labels[:DIGITS], strict=True)
            ]
        )
        >= 0.97
    )
