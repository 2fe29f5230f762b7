"""Makes the pictures in nbs/images: `python -m tools.pictures`.

The digits are our own pen strokes on simulated paper; the readings next to them are those of the
shipped model.
"""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from mnist_nb.reader import Reader

IMAGES = Path(__file__).parent.parent / "nbs" / "images"
FIVE = [
    [(62, 8), (24, 10), (20, 44), (42, 38), (60, 50), (62, 72), (46, 88), (22, 82)],
    [(60, 9), (72, 8)],
]
SEVEN = [[(18, 14), (40, 11), (66, 13), (52, 42), (38, 90)], [(30, 52), (62, 47)]]
NINE = [
    [
        (62, 22),
        (44, 10),
        (26, 22),
        (28, 44),
        (46, 48),
        (62, 28),
        (62, 24),
        (60, 66),
        (46, 88),
        (28, 80),
    ]
]


def smooth_stroke(points, n=60):
    "A stroke with rounded corners (Chaikin's corner cutting)."
    points = np.asarray(points, float)
    for _ in range(4):
        inner = np.stack(
            [0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], 1
        ).reshape(-1, 2)
        points = np.concatenate([points[:1], inner, points[-1:]])
    return points


def draw_strokes(strokes, size, scale, offset, pen, ink, paper):
    "Strokes on paper, which may be a number or an array; uint8 array of shape (size, size)."
    mask = np.zeros((size, size), np.uint8)
    for stroke in strokes:
        fixed = np.round((smooth_stroke(stroke) * scale + offset) * 16).astype(np.int32)
        cv2.polylines(mask, [fixed[:, None]], False, 255, pen, cv2.LINE_AA, 4)
    coverage = cv2.GaussianBlur(mask, (0, 0), 0.8) / 255
    return np.clip(paper * (1 - coverage) + ink * coverage, 0, 255).astype(np.uint8)


def photo_paper(size, rng):
    "Paper as a phone photographs it: lit from one corner, with noise."
    light = np.linspace(200, 120, size)[:, None] + np.linspace(20, -40, size)[None]
    return light + rng.normal(0, 4, (size, size))


def main():
    rng, size = np.random.default_rng(0), 280
    pictures = [
        draw_strokes(FIVE, size, 2.4, (30, 24), 9, 20, 252.0),
        draw_strokes(SEVEN, size, 1.6, (110, 90), 4, 70, photo_paper(size, rng)),
        draw_strokes(NINE, size, 1.4, (20, 20), 16, 240, 30.0),
    ]
    Image.fromarray(pictures[0]).save(IMAGES / "drawn.png", optimize=True)
    reader, figure = Reader.load("pretrained"), Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots(3, 3, width_ratios=[1, 1, 1.6])
    for (left, middle, right), picture in zip(axes, pictures, strict=True):
        reading = reader.read(picture)
        left.imshow(picture, cmap="gray", vmin=0, vmax=255)
        middle.imshow(reading.picture, cmap="gray")
        right.barh(
            range(10),
            reading.probabilities,
            color=["#e45756" if d == reading.digit else "#4c78a8" for d in range(10)],
        )
        right.set(yticks=range(10), xlim=(0, 1), xticks=[0, 0.5, 1])
        right.set_title(f"{reading.digit}, {reading.confidence:.1%} sure", fontsize=10)
        right.tick_params(labelsize=7)
        for picture_axes in (left, middle):
            picture_axes.axis("off")
    for ax, name in zip(axes[0], ("picture", "what the network saw"), strict=True):
        ax.set_title(name, fontsize=10)
    figure.savefig(IMAGES / "readings.png", dpi=90)


if __name__ == "__main__":
    main()
