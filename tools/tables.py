"""How the current version reads what is not MNIST: `python -m tools.tables [--write]`.

Redrawn test digits, composed numbers and pictures of no digit; the same ones in every run. With
--write, or from `python -m tools.ship`, the tables of the shipped version
are kept beside it, where the README finds them.
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

DIGITS, KINDS_DIGITS = 1000, 300


def scikit_learn_score(reader):
    """How the 8 x 8 digits that come with scikit-learn are read, and by the plain way; shares from
    0 to 1.
    """
    others = load_digits()
    pictures = np.rint(others.images * 255 / 16).astype(np.uint8)
    found = np.array([-1 if one.rejected else one.digit for one in reader.read_many(pictures)])
    plain = reader.probabilities(
        np.array([plain_normalize(picture) for picture in pictures])
    ).argmax(1)
    return {
        "right": float((found == others.target).mean()),
        "plain": float((plain == others.target).mean()),
    }


def tables(reader):
    "All tables, as plain values."
    mnist = load_mnist()
    images, labels = mnist.test_images, mnist.test_labels
    return {
        "digits": DIGITS,
        "framing": framing_benchmark(reader, images[:DIGITS], labels[:DIGITS]),
        "numbers": number_score(reader, images, labels),
        "printed": printed_score(reader),
        "kinds_digits": KINDS_DIGITS,
        "kinds": picture_kinds_table(reader, images[:KINDS_DIGITS], labels[:KINDS_DIGITS]),
        "scikit_learn": scikit_learn_score(reader),
        "accepted": refusal_table(reader, images),
    }


def main():
    write = sys.argv[1:] == ["--write"]
    found = tables(Reader.load("pretrained" if write else None))
    if write:
        (Path(__file__).parent.parent / "mnist_nb" / "pretrained" / "tables.json").write_text(
            json.dumps(found, indent=1) + "\n", encoding="utf8"
        )
    print("read rightly, refused")
    for condition, row in found["framing"].items():
        print(f"{row['accuracy']:>8.2%} {row['refused']:>8.2%}  {condition}")
    print("\nread rightly, by the plain way, blank ones refused")
    for kind, row in (
        found["kinds"] | {"8 x 8 digits of scikit-learn": found["scikit_learn"]}
    ).items():
        print(
            f"{row['right']:>8.2%} {row['plain']:>8.2%}"
            f" {format(row['blank'], '.1%') if 'blank' in row else '':>8}  {kind}"
        )
    print("\naccepted, though no digit")
    for kind, share in found["accepted"].items():
        print(f"{share:>8.2%}  {kind}")
    print(
        f"\nprinted digits: {found['printed']['accuracy']:.2%}, refused"
        f" {found['printed']['refused']:.2%}"
    )
    print(f"numbers wholly right: {found['numbers']:.2%}")


if __name__ == "__main__":
    main()
