"""Trains the sequence network, which reads digits that touch, and puts it into the package.

    python -m tools.sequence [--rows N] [--seed N] [--folder FOLDER]

It learns from MNIST's training digits without the validation digits, and is evaluated on rows of
validation digits and of test digits. The results go to config.json next to it.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

import mnist_nb
from mnist_nb.core import versions, write_atomic
from mnist_nb.data.mnist import load_mnist, split
from mnist_nb.model.network import convert_to_litert
from mnist_nb.model.sequence import SequenceModel
from mnist_nb.training.sequence_training import (
    make_rows,
    row_accuracy,
    row_material,
    train_sequence_model,
    with_softmax,
)

FOLDER = Path(mnist_nb.__file__).parent / "pretrained_sequence"
JUDGED_ROWS = 4000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    mnist = load_mnist()
    train_data, val_data = split(mnist.train_images, mnist.train_labels)
    start = time.monotonic()
    model = train_sequence_model(*train_data, arguments.rows, arguments.seed)
    seconds = time.monotonic() - start
    content = convert_to_litert(with_softmax(model))
    accuracy = {}
    for name, data in (("validation", val_data), ("test", (mnist.test_images, mnist.test_labels))):
        rows = make_rows(row_material(*data, seed=1), JUDGED_ROWS, np.random.default_rng(1), 0.5)
        accuracy[name] = row_accuracy(SequenceModel(content), rows)
    record = {
        "command": f"python -m tools.sequence --rows {arguments.rows} --seed {arguments.seed}",
        "parameters": model.count_params(),
        "rows": arguments.rows,
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "made": time.strftime("%Y-%m-%d"),
        "loss": model.history.history["loss"],
        "rows_read_rightly": accuracy,
        "versions": versions(),
    }
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(arguments.folder / "model.tflite", content)
    write_atomic(arguments.folder / "config.json", json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
