"""What each rule of preprocessing is worth: `python -m tools.ablation [--n 300] [--strokes FILE]`.

Training digits of each kind of picture and each condition of the robustness table are read with all
rules and with one taken out at a time. The rows go to nbs/ablation.json, which the notebook on
kinds of pictures shows. With a file of pen strokes (see `tools.wild`) those are columns too.
"""

import argparse
import json
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from sklearn.datasets import load_digits

from mnist_nb.analysis.corruptions import CORRUPTIONS
from mnist_nb.analysis.picture_kinds import BLANK_KINDS, PICTURE_KINDS
from mnist_nb.analysis.robustness import CONDITIONS
from mnist_nb.core import write_atomic
from mnist_nb.data.mnist import load_mnist
from mnist_nb.data.printed import printed_digits
from mnist_nb.reader import Reader
from mnist_nb.vision import preprocessing
from tools.wild import PENS, SIZES, draw_strokes, load_strokes

ROWS = Path(__file__).parent.parent / "nbs" / "ablation.json"


def columns(n, strokes):
    "name -> (pictures, labels), labels None where nothing is to be read."
    mnist = load_mnist()
    chosen = np.linspace(0, 9999, n).astype(int)
    images, labels = mnist.train_images[-10000:][chosen], mnist.train_labels[-10000:][chosen]
    for name, kind in PICTURE_KINDS.items():
        rng = np.random.default_rng(0)
        yield name, [kind(image, rng) for image in images], labels
    for name, kind in BLANK_KINDS.items():
        rng = np.random.default_rng(1)
        yield f"blank: {name}", [kind(0 * image, rng) for image in images[::3]], None
    for name, condition in CONDITIONS.items():
        yield name, [condition(image, seed) for seed, image in enumerate(images)], labels
    for name, amount in (("noise", 0.3), ("blur", 1.5), ("lost contrast", 0.8), ("thickness", 2)):
        corruption = CORRUPTIONS[name].apply
        yield f"28 x 28, {name}", [corruption(image, amount) for image in images], labels
    yield "printed", *printed_digits(n, np.random.default_rng(0))
    digits_8x8 = load_digits()
    yield (
        "scikit-learn's 8 x 8",
        [np.rint(image * 255 / 16).astype(np.uint8) for image in digits_8x8.images[:n]],
        digits_8x8.target[:n],
    )
    if strokes:
        written, stroke_labels = load_strokes(strokes)
        indices = np.linspace(0, len(written) - 1, n).astype(int)
        for pen, width in PENS.items():
            for size, share in SIZES.items():
                rng = np.random.default_rng(0)
                pictures = [draw_strokes(written[i], width, share, rng) for i in indices]
                yield f"{pen}, {size}", pictures, stroke_labels[indices]


def only_interpretations(*ways):
    "Interpretations of some ways alone."
    original = preprocessing._interpretations

    def selected(grey, polarity):
        interpretations, polarity = original(grey, polarity)
        return [each for each in interpretations if each[0] in ways], polarity

    return {"_interpretations": selected}


def no_border(ink):
    "Connected components of which none is a border."
    labels, stats, touching, _ = connected_components(ink)
    return labels, stats, touching, np.zeros_like(touching)


connected_components = preprocessing._connected_components

RULES = {
    "all rules": {},
    "the plain look": only_interpretations("located", "whole", "inside", "unchanged"),
    "the unchanged look": only_interpretations("located", "whole", "inside", "plain"),
    "the look inside a line that is touched": only_interpretations(
        "located", "whole", "plain", "unchanged"
    ),
    "the whole look": only_interpretations("located", "inside", "plain", "unchanged"),
    "the located look": only_interpretations("whole", "inside", "plain", "unchanged"),
    "a closer look at small digits": {"_SMALL_DIGIT_SIZE": 0},
    "borders and lines told apart": {"_connected_components": no_border},
    "ruled lines taken out": {"_remove_ruled_lines": lambda ink, strength, min_strength: ink},
    "frames taken out": {"_frames": lambda labels, stats, pieces: []},
    "the digit told from what lies apart": {
        "_main_group": lambda stats, selected: selected & (stats[:, 2:4].max(1) > 0)
    },
    "a second ground, light divided out": {"_MIN_SHADING_SIZE": 10**6},
    "windows of the shorter side": {
        "_thin_stroke_polarity": lambda grey: "dark" if np.median(grey) > 127 else "light"
    },
    "an even ground": {"_even_background_level": lambda grey, histogram: None},
    "thin pens widened": {"_MIN_PEN_SHARE": 0},
}


@contextmanager
def replaced(module, changes):
    "A module with some of its names replaced."
    originals = {name: getattr(module, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in originals.items():
            setattr(module, name, value)


def score(reader, pictures, labels):
    "The share that is read correctly, or correctly refused."
    readings = reader.read_many(pictures)
    if labels is None:
        return float(np.mean([reading.rejected for reading in readings]))
    right = [
        not reading.rejected and reading.digit == label
        for reading, label in zip(readings, labels, strict=True)
    ]
    return float(np.mean(right))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=300, help="digits of each kind")
    parser.add_argument("--strokes", help="a file of pen strokes")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    reader, rows = Reader.load(), {rule: {} for rule in RULES}
    for name, pictures, labels in columns(arguments.n, arguments.strokes):
        for rule, changes in RULES.items():
            with replaced(preprocessing, changes):
                rows[rule][name] = score(reader, pictures, labels)
        differences = " ".join(
            f"{100 * (rows[r][name] - rows['all rules'][name]):+.1f}" for r in rows
        )
        print(f"{name:<40} {rows['all rules'][name]:.1%}  {differences}", flush=True)
    write_atomic(ROWS, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
