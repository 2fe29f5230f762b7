"""How the current version reads what is not MNIST: `python -m tools.tables [--write]`.

Redrawn test digits, composed numbers and pictures of no digit; the same ones in every run. With --write, or from `python -m tools.ship`, the tables of the shipped version
are kept beside it, where the README finds them.
"""
import json
import sys
from pathlib import Path

from mnist_nb.data import load_mnist
from mnist_nb.inference import Reader
from mnist_nb.robustness import framing_table, number_score, printed_score, refusal_table

DIGITS = 1000


def tables(reader):
    "All tables, as plain values."
    mnist = load_mnist()
    images, labels = mnist.test_images, mnist.test_labels
    return dict(digits=DIGITS, framing=framing_table(reader, images[:DIGITS], labels[:DIGITS]), numbers=number_score(reader, images, labels),
                printed=printed_score(reader), accepted=refusal_table(reader, images))


def main():
    write = sys.argv[1:] == ['--write']
    found = tables(Reader.load('pretrained' if write else None))
    if write: (Path(__file__).parent.parent/'mnist_nb'/'pretrained'/'tables.json').write_text(json.dumps(found, indent=1) + '\n', encoding='utf8')
    print('read rightly, refused')
    for condition, row in found['framing'].items(): print(f"{row['accuracy']:>8.2%} {row['refused']:>8.2%}  {condition}")
    print('\naccepted, though no digit')
    for kind, share in found['accepted'].items(): print(f'{share:>8.2%}  {kind}')
    print(f"\nprinted digits: {found['printed']['accuracy']:.2%}, refused {found['printed']['refused']:.2%}")
    print(f"numbers wholly right: {found['numbers']:.2%}")


if __name__ == '__main__': main()
