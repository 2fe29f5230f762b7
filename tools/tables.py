"""How the current version reads what is not MNIST: `python -m tools.tables [--write]`.

Redrawn test digits, composed numbers and pictures of no digit; the same ones in every run. With
--write, or from `python -m tools.ship`, the tables of the shipped version
are written next to it, where the README finds them.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from mnist_nb.analysis.picture_kinds import picture_kinds_table, plain_normalize
from mnist_nb.analysis.robustness import (
    framing_benchmark,
    number_score,
    printed_score,
    refusal_table,
)
from mnist_nb.data.mnist import load_mnist
from mnist_nb.reader import Reader

NUM_DIGITS, NUM_KIND_DIGITS, NUM_NUMBERS = 1000, 300, 1000


def scikit_learn_score(reader):
    "Accuracies on the 8 x 8 digits that come with scikit-learn, by the reader and the plain way."
    digits_8x8 = load_digits()
    pictures = np.rint(digits_8x8.images * 255 / 16).astype(np.uint8)
    results = np.array(
        [-1 if reading.rejected else reading.digit for reading in reader.read_many(pictures)]
    )
    plain = reader.probabilities(
        np.array([plain_normalize(picture) for picture in pictures])
    ).argmax(1)
    return {
        "right": float((results == digits_8x8.target).mean()),
        "plain": float((plain == digits_8x8.target).mean()),
    }


def tables(reader):
    "All tables, as plain values."
    mnist = load_mnist()
    images, labels = mnist.test_images, mnist.test_labels
    return {
        "digits": NUM_DIGITS,
        "framing": framing_benchmark(reader, images[:NUM_DIGITS], labels[:NUM_DIGITS]),
        "composed_numbers": NUM_NUMBERS,
        "numbers": number_score(reader, images, labels, NUM_NUMBERS),
        "printed": printed_score(reader),
        "kinds_digits": NUM_KIND_DIGITS,
        "kinds": picture_kinds_table(reader, images[:NUM_KIND_DIGITS], labels[:NUM_KIND_DIGITS]),
        "scikit_learn": scikit_learn_score(reader),
        "accepted": refusal_table(reader, images),
    }


def main():
    write = sys.argv[1:] == ["--write"]
    results = tables(Reader.load("pretrained" if write else None))
    if write:
        (Path(__file__).parent.parent / "mnist_nb" / "pretrained" / "tables.json").write_text(
            json.dumps(results, indent=1) + "\n", encoding="utf8"
        )
    print("read correctly, refused")
    for condition, row in results["framing"].items():
        print(f"{row['accuracy']:>8.2%} {row['refused']:>8.2%}  {condition}")
    print("\nread correctly, by the plain way, blank ones refused")
    for kind, row in (
        results["kinds"] | {"8 x 8 digits of scikit-learn": results["scikit_learn"]}
    ).items():
        print(
            f"{row['right']:>8.2%} {row['plain']:>8.2%}"
            f" {format(row['blank'], '.1%') if 'blank' in row else '':>8}  {kind}"
        )
    print("\naccepted, though no digit")
    for kind, share in results["accepted"].items():
        print(f"{share:>8.2%}  {kind}")
    print(
        f"\nprinted digits: {results['printed']['accuracy']:.2%}, refused"
        f" {results['printed']['refused']:.2%}"
    )
    print(f"numbers wholly right: {results['numbers']:.2%}")


if __name__ == "__main__":
    main()
