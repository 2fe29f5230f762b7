"""Times the reading of digits, all ways in one run: `python -m tools.bench [--without-keras]
[--write]`.

One picture through `Reader.read` (from a drawing of 280 by 280 pixels and from MNIST's own),
through the light runtime alone, through `keras.Model.predict` and through
a direct call of the Keras model; pictures per second in batches; seconds to import. The ways take
turns, so that a busy machine slows them alike. The ratios are what counts.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mnist_nb.analysis.robustness import redraw
from mnist_nb.data.mnist import load_mnist
from mnist_nb.model.registry import ModelRegistry
from mnist_nb.reader import Reader


def time_calls(calls, rounds):
    "Milliseconds of each call by name, arrays of shape (rounds,); the calls take turns."
    milliseconds = {name: np.empty(rounds) for name in calls}
    for i in range(-3, rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i >= 0:
                milliseconds[name][i] = 1000 * (time.perf_counter() - start)
    return milliseconds


def import_seconds(statement):
    "Median seconds of a statement in a new Python, minus those of an empty one."

    def seconds(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return time.perf_counter() - start

    return np.median([seconds(statement) - seconds("pass") for _ in range(3)])


def format_table(rows):
    "Rows of text by column, as a table for a terminal."
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    first, *others = widths

    def line(row):
        return f"{row[first]:<{widths[first]}}" + "".join(
            f"  {row[name]:>{widths[name]}}" for name in others
        )

    return "\n".join(line(row) for row in [{name: name for name in widths}, *rows])


def write_results(name, results):
    "Write results and the number of cores to nbs, where the notebooks find them."
    (Path(__file__).parent.parent / "nbs" / f"{name}.json").write_text(
        json.dumps(dict(cores=os.cpu_count(), **results), indent=1) + "\n"
    )


def time_one_picture(calls):
    "Time some calls; returns rows of texts by column, the ratio first."
    milliseconds = time_calls(calls, 60 if "keras model(x)" in calls else 500)
    slowest = np.median([*milliseconds.values()][-1])
    return [
        {
            "one picture": name,
            "times faster than the last": f"{slowest / np.median(ms):.1f}",
            "median ms": f"{np.median(ms):.3f}",
            "99th percentile ms": f"{np.percentile(ms, 99):.3f}",
        }
        for name, ms in milliseconds.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--without-keras", action="store_true", help="leave Keras out")
    parser.add_argument(
        "--write",
        action="store_true",
        help="keep what was measured in nbs/bench.json, for the notebooks and the README",
    )
    arguments = parser.parse_args()
    digit, images = load_mnist().test_images[0], load_mnist().test_images[:1000]
    reader, drawing = Reader.load(), 255 - redraw(digit)
    calls = {
        "Reader.read, drawing of 280 x 280": lambda: reader.read(drawing),
        "Reader.read, 28 x 28": lambda: reader.read(digit),
        "light runtime alone": lambda: reader.network.outputs(digit),
    }
    if not arguments.without_keras:
        from mnist_nb.model.network import load_keras, network_input

        model, one = load_keras(ModelRegistry().path() / "model.keras"), network_input(digit)
        calls |= {
            "keras model(x)": lambda: np.asarray(model(one, training=False)),
            "keras model.predict(x)": lambda: model.predict(one, verbose=0),
        }
    drawings = [255 - redraw(image) for image in images]
    batches = {
        "light runtime": lambda: reader.network.outputs(images),
        "Reader.read_many, 28 x 28": lambda: reader.read_many(images),
        "Reader.read_many, drawings of 280 x 280": lambda: reader.read_many(drawings),
    }
    statements = (
        "import mnist_nb",
        "from mnist_nb import Reader",
        *([] if arguments.without_keras else ["import keras"]),
    )
    results = {
        "one": time_one_picture(calls),
        "many": [
            {"1000 pictures": name, "pictures/s": f"{1e6 / np.median(ms):.0f}"}
            for name, ms in time_calls(batches, 3).items()
        ],
        "imports": [
            {"import": statement, "seconds": f"{import_seconds(statement):.2f}"}
            for statement in statements
        ],
    }
    print("\n\n".join(map(format_table, results.values())))
    if arguments.write:
        write_results("bench", results)


if __name__ == "__main__":
    main()
