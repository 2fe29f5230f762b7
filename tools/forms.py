"""How forms of our own are read: `python -m tools.forms [--pages N] [--seed N] [--model VERSION]`.

Pages of 20 rows of 11 boxes are filled in by simulated hands, every other one with digits that were
held out from training, and photographed as by a phone; what is read is compared with what was
written. `python -m tools.sheets --forms N` prints the same.
"""

import argparse

from mnist_nb.analysis.form_round import form_score
from mnist_nb.data.mnist import load_mnist, split
from mnist_nb.reader import Reader


def form_figures(pages, version=None, seed=0):
    "The figures of so many pages, by name."
    mnist = load_mnist()
    held_out = split(mnist.train_images, mnist.train_labels)[1]
    return form_score(Reader.load(version), pages, held_out, seed)


def print_forms(pages, version=None, seed=0):
    "Print the figures of so many pages, one a line."
    for name, value in form_figures(pages, version, seed).items():
        print(f"{name:<32} {value if isinstance(value, int) else f'{value:.3%}':>9}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="version of the model; by default the current one")
    arguments = parser.parse_args()
    print_forms(arguments.pages, arguments.model, arguments.seed)


if __name__ == "__main__":
    main()
