"""Times the reading of digits, all ways in one run: `python -m tools.bench [--without-keras]`.

One picture through `Reader.read` (from a drawing of 280 by 280 pixels and from MNIST's own), through the light runtime alone, through `keras.Model.predict` and through
a direct call of the Keras model; pictures per second in batches; seconds to import. The ways take turns, so that a busy machine slows them alike. The ratios are what counts.
"""
import argparse
import subprocess
import sys
import time

import numpy as np

from mnist_nb.data import load_mnist
from mnist_nb.inference import Reader
from mnist_nb.robustness import redraw
from mnist_nb.store import Store


def timed(calls, rounds):
    "Milliseconds of each call, an array of shape (rounds,) a name; the calls take turns."
    taken = {name: np.empty(rounds) for name in calls}
    for i in range(-3, rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i >= 0: taken[name][i] = 1000*(time.perf_counter() - start)
    return taken


def imported(statement):
    "Median seconds that a new Python takes for a statement, less that of an empty one."
    def seconds(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
        return time.perf_counter() - start
    return np.median([seconds(statement) - seconds('pass') for _ in range(3)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--without-keras', action='store_true', help='leave Keras out')
    arguments = parser.parse_args()
    digit, many = load_mnist().test_images[0], load_mnist().test_images[:1000]
    reader, drawing = Reader.load(), 255 - redraw(digit)
    calls = {'Reader.read, drawing of 280 x 280': lambda: reader.read(drawing), 'Reader.read, 28 x 28': lambda: reader.read(digit),
             'light runtime alone': lambda: reader.network.outputs(digit)}
    if not arguments.without_keras:
        from mnist_nb.model import load_keras, network_input
        model, one = load_keras(Store().path()/'model.keras'), network_input(digit)
        calls |= {'keras model(x)': lambda: np.asarray(model(one, training=False)), 'keras model.predict(x)': lambda: model.predict(one, verbose=0)}
    taken = timed(calls, 60 if 'keras model(x)' in calls else 500)
    slowest = np.median(list(taken.values())[-1])
    print(f'{"one picture":<36} {"median ms":>10} {"99th %":>8} {"times faster than the last":>27}')
    for name, ms in taken.items(): print(f'{name:<36} {np.median(ms):>10.3f} {np.percentile(ms, 99):>8.3f} {slowest/np.median(ms):>27.1f}')
    batches = {'light runtime, batches': lambda: reader.network.outputs(many), 'Reader.read_many': lambda: reader.read_many(many)}
    print(f'\n{"1000 pictures":<36} {"pictures/s":>10}')
    for name, ms in timed(batches, 3).items(): print(f'{name:<36} {1e6/np.median(ms):>10.0f}')
    print(f'\n{"import":<36} {"seconds":>10}')
    for statement in ('import mnist_nb', 'from mnist_nb import Reader', *([] if arguments.without_keras else ['import keras'])): print(f'{statement:<36} {imported(statement):>10.2f}')


if __name__ == '__main__': main()
