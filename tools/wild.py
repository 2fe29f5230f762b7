"""How the shipped model reads real pen strokes: `python -m tools.wild STROKES.npz [--limit N]
[--model VERSION]`.

The file holds digits as pen strokes: `xy` (points, 2), `stroke_length` (points of each stroke),
`strokes_per_digit` and `labels`.
Each digit is drawn with three pens, in three sizes and at a random place on a canvas, as somebody
with a mouse or finger would, and read from there.
"""

import argparse

import cv2
import numpy as np

from mnist_nb.reader import Reader

CANVAS = 280
PENS = {"thin pen": 0.03, "plain pen": 0.1, "thick pen": 0.2}
SIZES = {"small": 0.2, "plain size": 0.5, "large": 0.9}


def load_strokes(path):
    "Each digit's strokes, as float32 arrays (points, 2), and the labels."
    with np.load(path, allow_pickle=False) as file:
        strokes = np.split(file["xy"].astype(np.float32), np.cumsum(file["stroke_length"])[:-1])
        starts = np.cumsum(file["strokes_per_digit"], dtype=int)
        return [
            strokes[end - n : end] for n, end in zip(file["strokes_per_digit"], starts, strict=True)
        ], file["labels"]


def draw_strokes(strokes, pen, size, rng):
    """The strokes on a canvas: longer side, pen included, `size` of it, pen `pen` of that, at a
    random place; dark on light.
    """
    points, width = np.concatenate(strokes), max(1, round(pen * size * CANVAS))
    low, extent = points.min(0), np.maximum(np.ptp(points, 0), 1e-3)
    scale = (size * CANVAS - width) / extent.max()
    start = width / 2 + rng.random(2) * (CANVAS - extent * scale - width)
    picture = np.full((CANVAS, CANVAS), 255, np.uint8)
    for stroke in strokes:
        fixed = np.round(((stroke - low) * scale + start) * 16).astype(np.int32)
        cv2.polylines(
            picture,
            [np.repeat(fixed, 2, 0) if len(fixed) == 1 else fixed],
            False,
            0,
            width,
            cv2.LINE_AA,
            4,
        )
    return picture


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("strokes")
    parser.add_argument("--limit", type=int, help="read only so many of the digits, evenly spread")
    parser.add_argument("--model", help="version of the model; by default the current one")
    arguments = parser.parse_args()
    digits, labels = load_strokes(arguments.strokes)
    chosen = np.unique(np.linspace(0, len(digits) - 1, arguments.limit or len(digits)).astype(int))
    reader = Reader.load(arguments.model)
    print(
        f"{len(chosen)} digits, model {reader.version}\n\n{'condition':<24} {'correct':>12}"
        f" {'of accepted':>12} {'refused':>8}"
    )

    def report(name, readings):
        right = np.array(
            [
                int(reading.probabilities.argmax()) == label
                for reading, label in zip(readings, labels[chosen], strict=True)
            ]
        )
        refused = np.array([reading.rejected for reading in readings])
        print(
            f"{name:<24} {right.mean():>12.2%} {right[~refused].mean():>12.2%}"
            f" {refused.mean():>8.2%}",
            flush=True,
        )

    report("strokes themselves", [reader.read_strokes(digits[i]) for i in chosen])
    for pen_name, pen in PENS.items():
        for size_name, size in SIZES.items():
            rng = np.random.default_rng(0)
            report(
                f"{pen_name}, {size_name}",
                reader.read_many(draw_strokes(digits[i], pen, size, rng) for i in chosen),
            )


if __name__ == "__main__":
    main()
