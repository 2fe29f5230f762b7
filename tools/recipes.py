"""Tries a recipe and writes down what it gave: `python -m tools.recipes NAME... [--seeds N] [--epochs N] [--strokes FILE]`; without a name it lists them.

Every trial learns from 50,000 of the training digits, for a few epochs, and is judged on the 10,000 others, so that nothing is ever chosen by the test digits: as they are; spoilt by noise, blur,
weak contrast, shifts and turns; redrawn with other pens, sizes, places and papers; and by how much of what is no digit is accepted where 99 % of the digits are. With a file of pen strokes
(see `tools.wild`), which are never learnt from, also on those. The rows go to nbs/recipes.json, which the notebook on recipes shows.
"""
import argparse
import hashlib
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

import mnist_nb
from mnist_nb import augmentation, negatives, robustness, training
from mnist_nb.core import CLASSES, home_folder, write_atomic
from mnist_nb.data import load_mnist, split
from mnist_nb.model import check_choice, given_a_digit, network_input
from mnist_nb.preprocessing import prepare
from tools.wild import PENS, SIZES, drawn, load_strokes

ROWS = Path(__file__).parent.parent/'nbs'/'recipes.json'
HELD_OUT, REDRAWN, STROKES, NONE = 10000, 600, 1000, 1000
EPOCHS = 8

# What a recipe changes in the preset `full`, and in the constants of the modules.
RECIPES = {
    'full': ({}, {}),
    'MNIST alone': (dict(augmentation=0., negatives=0.), {}),
    'no negatives': (dict(negatives=0.), {}),
    'strict scribbles': ({}, {'negatives.MILD': 4.5}),
    'no redrawn lines': ({}, {'augmentation.DRAWN_SHARE': 0.}),
    'no styles': ({}, {'augmentation.STYLES': {}}),
    'no faults': ({}, {'augmentation.FAULTS': {}}),
    'none left plain': ({}, {'augmentation.PLAIN_SHARE': 0.}),
    'half the strength': (dict(augmentation=.5), {}),
    'no averaging': (dict(averaging=0.), {}),
    'no normalisation': (dict(normalisation=None, learning_rate=1e-3), {}),
    'constant rate': (dict(schedule='constant', learning_rate=1e-3), {}),
    'batches of 192': (dict(batch_size=192), {}),
    'dropout of .3': (dict(dropout=.3), {}),
    'smoothed labels': (dict(label_smoothing=.05), {}),
    'weight decay': (dict(weight_decay=.01), {}),
    'a narrower dense layer': (dict(dense=64), {}),
    'two teachers': (dict(teachers=2), {}),
}


def shifted(image, rng): return np.roll(image, rng.integers(-4, 5, 2), (0, 1))


def turned(image, rng): return cv2.warpAffine(image, cv2.getRotationMatrix2D((13.5, 13.5), rng.choice([-20, 20]), 1), (28, 28))


def clipped(image): return np.clip(image, 0, 255).astype(np.uint8)


SPOILT = {'noise': lambda image, rng: clipped(image + rng.normal(0, 51, image.shape)), 'blur': lambda image, rng: cv2.GaussianBlur(image, (0, 0), 1.5),
          'contrast': lambda image, rng: clipped(image*.2), 'shift': shifted, 'turn': turned}


def cached(name, make, *modules):
    "Pictures that are dear to make, kept for the next time; made anew when the modules that make them differ."
    sources = ''.join((Path(mnist_nb.__file__).parent/f'{module}.py').read_text() for module in modules)
    path = home_folder()/'recipes'/f'{name}-{hashlib.sha256(sources.encode()).hexdigest()[:8]}.npy'
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists(): np.save(path, make())
    return np.load(path)


def prepared(pictures): return np.array([prepare(picture).picture for picture in pictures])


def redrawn(images):
    "The conditions of the framing table, prepared: uint8 array of shape (conditions, n, 28, 28)."
    return np.array([prepared(condition(image, seed) for seed, image in enumerate(images)) for condition in robustness.CONDITIONS.values()])


def written(path):
    "Real pen strokes in each pen and size, prepared; and their labels."
    digits, labels = load_strokes(path)
    chosen = np.unique(np.linspace(0, len(digits) - 1, STROKES).astype(int))
    pictures = lambda pen, size: prepared(drawn(digits[i], pen, size, rng) for rng in [np.random.default_rng(0)] for i in chosen)
    return cached('strokes', lambda: np.array([[pictures(pen, size) for size in SIZES.values()] for pen in PENS.values()]), 'preprocessing'), labels[chosen]


def families(): return robustness.FAMILIES | negatives.UNSEEN


def no_digits():
    "Pictures of no digit, of each family: uint8 array of shape (families, n, 28, 28)."
    return cached('none', lambda: np.array([[make(rng) for _ in range(NONE)] for rng in [np.random.default_rng(0)] for make in families().values()]), 'negatives', 'robustness')


def score(outputs, images, labels, strokes=None):
    "All figures of a network, given a function from pictures to its outputs."
    def right(pictures, labels): return float((outputs(pictures)[:, :CLASSES].argmax(1) == labels).mean())
    found = outputs(images)
    limit, rng, some = np.quantile(given_a_digit(found)[1], .99), np.random.default_rng(0), slice(0, 2000)
    framing = cached('redrawn', lambda: redrawn(images[:REDRAWN]), 'preprocessing', 'robustness')
    row = dict(held_out=float((found[:, :CLASSES].argmax(1) == labels).mean()),
               spoilt={name: right(np.array([spoil(image, rng) for image in images[some]]), labels[some]) for name, spoil in SPOILT.items()},
               framing={name: right(pictures, labels[:REDRAWN]) for name, pictures in zip(robustness.CONDITIONS, framing)})
    if found.shape[1] > CLASSES: row['accepted'] = {name: float((given_a_digit(outputs(pictures))[1] <= limit).mean()) for name, pictures in zip(families(), no_digits())}
    if strokes:
        pictures, wanted = written(strokes)
        row['strokes'] = {pen: {size: right(each, wanted) for size, each in zip(SIZES, those)} for pen, those in zip(PENS, pictures)}
    return row


def outputs_of(model):
    "A function from pictures to what a Keras model gives for them."
    import tensorflow as tf
    answer = tf.function(partial(model, training=False), input_signature=[tf.TensorSpec([None, 28, 28, 1])])
    return lambda images: np.concatenate([answer(network_input(images[i:i + 500])).numpy() for i in range(0, len(images), 500)])


def brief(row):
    "A row in one line of text."
    worst = lambda values: min(values.values())
    parts = [f"{row['held_out']:.2%}", f"spoilt {' '.join(f'{v:.1%}' for v in row['spoilt'].values())}", f"framing {worst(row['framing']):.1%}"]
    if 'accepted' in row: parts.append('accepted ' + ' '.join(f'{v:.1%}' for v in row['accepted'].values()))
    if 'strokes' in row: parts.append('strokes ' + ' '.join(f'{v:.1%}' for sizes in row['strokes'].values() for v in sizes.values()))
    return ', '.join(parts)


def patched(constants):
    "Set constants, given as {'module.NAME': value}; returns what they were, in the same form."
    kept = {}
    for name, value in constants.items():
        module, constant = dict(augmentation=augmentation, negatives=negatives)[name.split('.')[0]], name.split('.')[1]
        kept[name] = getattr(module, constant)
        setattr(module, constant, value)
    return kept


def tried(name, seed, epochs, strokes):
    "Train a recipe and judge it."
    changes, constants = RECIPES[name]
    config = replace(training.PRESETS['full'], seed=seed, epochs=epochs, time_limit=None, **changes)
    kept = patched(constants)
    mnist = load_mnist()
    digits, (images, labels) = split(mnist.train_images, mnist.train_labels, HELD_OUT)
    tell = lambda event: event['kind'] == 'epoch' and print(f"{event['epoch']} {event['validation_accuracy']:.2%} {event['seconds']:.0f} s", end=', ', flush=True)
    start = time.process_time()
    trained = training.train(config, digits, (images[-5000:], labels[-5000:]), on_event=tell)
    patched(kept)
    row = dict(recipe=name, seed=seed, epochs=config.epochs, cpu_seconds=round(time.process_time() - start), parameters=trained.model.count_params())
    return row | score(outputs_of(trained.model), images, labels, strokes)


def kept(row):
    "Write a row down, in place of an earlier one of the same trial."
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
    rows = [other for other in rows if any(other[key] != row[key] for key in ('recipe', 'seed', 'epochs'))] + [row]
    write_atomic(ROWS, '[\n' + ',\n'.join(json.dumps(each) for each in rows) + '\n]\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*')
    parser.add_argument('--seeds', type=int, default=1, help='how many, from 0 on')
    parser.add_argument('--epochs', type=int, default=EPOCHS)
    parser.add_argument('--strokes', help='a file of pen strokes')
    arguments = parser.parse_args()
    if not arguments.names: return print('\n'.join(RECIPES))
    for name in arguments.names: check_choice('NAME', name, tuple(RECIPES))
    for seed in range(arguments.seeds):
        for name in arguments.names:
            print(f'{name}, seed {seed}: ', end='')
            kept(row := tried(name, seed, arguments.epochs, arguments.strokes))
            print('\n' + brief(row), flush=True)


if __name__ == '__main__': main()
