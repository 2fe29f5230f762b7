"""Trains recipes and writes down their scores; without a name it lists them.

    python -m tools.recipes NAME... [--seeds N] [--epochs N] [--strokes FILE] [--rows FILE]

Every trial learns from 50,000 of the training digits, for a few epochs, and is judged on the
10,000 others, so that nothing is ever chosen by the test digits: as they are; spoilt by noise,
blur, weak contrast, shifts and turns; redrawn with other pens, sizes, places and papers; by how
much of what is no digit is accepted where 99 % of the digits are; and by digits printed in fonts
that no trial has learnt. Of each handwritten letter with several forms the last is kept out of
all trials, and the handwritten letters that are measured are those. With a file of pen strokes
(see `tools.wild`), which are never learnt from, also on those. The rows go to nbs/recipes.json,
which the notebook on recipes shows.
"""

import argparse
import hashlib
import json
import time
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np

import mnist_nb
from mnist_nb.analysis import robustness
from mnist_nb.core import NUM_CLASSES, home_folder, write_atomic
from mnist_nb.data import handwriting, non_digits, printed
from mnist_nb.data.mnist import load_mnist, split
from mnist_nb.model.network import check_choice, network_input, split_reject_class
from mnist_nb.training import trainer as training
from mnist_nb.vision.preprocessing import prepare
from tools.wild import PENS, SIZES, draw_strokes, load_strokes

ROWS = Path(__file__).parent.parent / "nbs" / "recipes.json"
NUM_HELD_OUT, NUM_REDRAWN, NUM_STROKES, NUM_NON_DIGITS, NUM_PRINTED = 10000, 600, 1000, 1000, 2000
EPOCHS = 8

# The shares of the kinds of non-digits before there were handwritten letters.
FONTS_ALONE = {
    "printed letters": 0.36,
    "printed symbols": 0.12,
    "spoilt digits": 0.13,
    "scribbles": 0.25,
    "scrawls": 0.05,
    "shapes": 0.05,
    "noise": 0.04,
}

# A recipe's changes to the preset `full`, and to constants of the modules.
RECIPES = {
    "full": ({}, {}),
    "MNIST alone": (
        {"augmentation": 0.0, "non_digits": 0.0, "handwriting": 0.0, "printed": 0.0},
        {},
    ),
    "no handwriting": ({"handwriting": 0.0}, {}),
    "handwriting .3": ({"handwriting": 0.3}, {}),
    "no print": ({"printed": 0.0}, {}),
    "print .06": ({"printed": 0.06}, {}),
    "no handwritten letters": ({}, {"data.non_digits.KIND_SHARES": FONTS_ALONE}),
    "non-digits .2": ({"non_digits": 0.2}, {}),
    "before hands and print": (
        {"handwriting": 0.0, "printed": 0.0, "non_digits": 0.2},
        {"data.non_digits.KIND_SHARES": FONTS_ALONE},
    ),
    "no non-digits": ({"non_digits": 0.0}, {}),
    "strict scribbles": ({}, {"data.non_digits.MIN_HALF_TURNS": 4.5}),
    "no redrawn lines": ({}, {"data.augmentation.REDRAWN_SHARE": 0.0}),
    "no styles": ({}, {"data.augmentation.STYLES": {}}),
    "no faults": ({}, {"data.augmentation.DEGRADATIONS": {}}),
    "none left plain": ({}, {"data.augmentation.UNCHANGED_SHARE": 0.0}),
    "half the strength": ({"augmentation": 0.5}, {}),
    "no ema_decay": ({"ema_decay": 0.0}, {}),
    "no normalisation": ({"normalisation": None, "learning_rate": 1e-3}, {}),
    "constant rate": ({"schedule": "constant", "learning_rate": 1e-3}, {}),
    "batches of 192": ({"batch_size": 192}, {}),
    "dropout of .3": ({"dropout": 0.3}, {}),
    "smoothed labels": ({"label_smoothing": 0.05}, {}),
    "weight decay": ({"weight_decay": 0.01}, {}),
    "a narrower dense layer": ({"dense": 64}, {}),
    "two teachers": ({"teachers": 2}, {}),
}


def shift(image, rng):
    return np.roll(image, rng.integers(-4, 5, 2), (0, 1))


def rotate(image, rng):
    return cv2.warpAffine(
        image, cv2.getRotationMatrix2D((13.5, 13.5), rng.choice([-20, 20]), 1), (28, 28)
    )


def to_uint8(image):
    return np.clip(image, 0, 255).astype(np.uint8)


CORRUPTIONS = {
    "noise": lambda image, rng: to_uint8(image + rng.normal(0, 51, image.shape)),
    "blur": lambda image, rng: cv2.GaussianBlur(image, (0, 0), 1.5),
    "contrast": lambda image, rng: to_uint8(image * 0.2),
    "shift": shift,
    "turn": rotate,
}


def cached_array(name, make, *modules):
    "An array that is slow to make, cached until the modules change."
    sources = "".join(
        (Path(mnist_nb.__file__).parent / f"{module}.py").read_text() for module in modules
    )
    path = (
        home_folder() / "recipes" / f"{name}-{hashlib.sha256(sources.encode()).hexdigest()[:8]}.npy"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        np.save(path, make())
    return np.load(path)


def preprocess_all(pictures):
    return np.array([prepare(picture).picture for picture in pictures])


def redraw_in_all_conditions(images):
    "Preprocessed digits, a row a condition: uint8 array of shape (conditions, n, 28, 28)."
    return np.array(
        [
            preprocess_all(condition(image, seed) for seed, image in enumerate(images))
            for condition in robustness.CONDITIONS.values()
        ]
    )


def stroke_pictures(path):
    "Real pen strokes with each pen and size, preprocessed; and their labels."
    digits, labels = load_strokes(path)
    chosen = np.unique(np.linspace(0, len(digits) - 1, NUM_STROKES).astype(int))

    def pictures(pen, size):
        rng = np.random.default_rng(0)
        return preprocess_all(draw_strokes(digits[i], pen, size, rng) for i in chosen)

    def make_all():
        return np.array([[pictures(pen, size) for size in SIZES.values()] for pen in PENS.values()])

    return cached_array("strokes", make_all, "vision/preprocessing"), labels[chosen]


def split_forms():
    "The forms of letters and symbols to learn from, and held-out ones: the last of several."
    forms = handwriting.ALLOGRAPHS.items()
    several = {key: each for key, each in forms if len(each) > 1 and not key.isdigit()}
    learnt = {key: each[:-1] if key in several else each for key, each in forms}
    return learnt, {key: each[-1:] for key, each in several.items()}


LEARNT_FORMS, HELD_OUT_FORMS = split_forms()


def handwritten_letter(forms, rng):
    "A handwritten letter or symbol in one of the given forms."
    originals = patch_constants({"data.handwriting.ALLOGRAPHS": forms})
    image = handwriting.handwritten_letters(1, rng)[0]
    patch_constants(originals)
    return image


def non_digit_families():
    letters = {
        "handwritten letters": partial(handwritten_letter, HELD_OUT_FORMS),
        "handwritten letters, learnt forms": partial(handwritten_letter, LEARNT_FORMS),
    }
    return robustness.NON_DIGIT_KINDS | letters | non_digits.UNSEEN


def non_digit_pictures():
    "Non-digits of each family: uint8 array of shape (families, n, 28, 28)."

    def make_all():
        rng = np.random.default_rng(0)
        return np.array(
            [[make(rng) for _ in range(NUM_NON_DIGITS)] for make in non_digit_families().values()]
        )

    return cached_array(
        "none",
        make_all,
        "data/handwriting",
        "data/printed",
        "data/non_digits",
        "analysis/robustness",
    )


def held_out_printed_digits():
    "Printed digits of fonts that no trial has learnt, and their labels."
    rng = np.random.default_rng(0)
    return printed.printed_digits(NUM_PRINTED, rng, printed.HELD_OUT_FONTS)


def score(outputs, images, labels, strokes=None):
    "All scores of a network, given a function from pictures to its outputs."

    def right(pictures, labels):
        return float((outputs(pictures)[:, :NUM_CLASSES].argmax(1) == labels).mean())

    def refused(pictures):
        return float((split_reject_class(outputs(pictures))[1] > limit).mean())

    held_out = outputs(images)
    limit = np.quantile(split_reject_class(held_out)[1], 0.99)
    rng, some = np.random.default_rng(0), slice(0, 2000)
    framing = cached_array(
        "redrawn",
        lambda: redraw_in_all_conditions(images[:NUM_REDRAWN]),
        "vision/preprocessing",
        "analysis/robustness",
    )
    print_images, print_labels = held_out_printed_digits()
    row = {
        "held_out": float((held_out[:, :NUM_CLASSES].argmax(1) == labels).mean()),
        "spoilt": {
            name: right(np.array([spoil(image, rng) for image in images[some]]), labels[some])
            for name, spoil in CORRUPTIONS.items()
        },
        "framing": {
            name: right(pictures, labels[:NUM_REDRAWN])
            for name, pictures in zip(robustness.CONDITIONS, framing, strict=True)
        },
        "printed": right(print_images, print_labels),
    }
    if held_out.shape[1] > NUM_CLASSES:
        row["accepted"] = {
            name: 1 - refused(pictures)
            for name, pictures in zip(non_digit_families(), non_digit_pictures(), strict=True)
        }
        row["refused"] = {"printed": refused(print_images)}
    if strokes:
        pictures, stroke_labels = stroke_pictures(strokes)
        row["strokes"] = {
            pen: {size: right(each, stroke_labels) for size, each in zip(SIZES, those, strict=True)}
            for pen, those in zip(PENS, pictures, strict=True)
        }
        if "refused" in row:
            row["refused"]["strokes"] = refused(pictures.reshape(-1, *pictures.shape[-2:]))
    return row


def outputs_function(model):
    "A function from pictures to a Keras model's outputs."
    import tensorflow as tf

    answer = tf.function(
        partial(model, training=False), input_signature=[tf.TensorSpec([None, 28, 28, 1])]
    )
    return lambda images: np.concatenate(
        [answer(network_input(images[i : i + 500])).numpy() for i in range(0, len(images), 500)]
    )


def row_text(row):
    "A row in one line of text."

    def shares(values):
        return " ".join(f"{value:.1%}" for value in values)

    parts = [
        f"{row['held_out']:.2%}",
        f"spoilt {shares(row['spoilt'].values())}",
        f"framing {shares([min(row['framing'].values())])}",
        f"printed {shares([row['printed']])}",
    ]
    if "accepted" in row:
        parts.append(f"accepted {shares(row['accepted'].values())}")
        parts.append(f"refused {shares(row['refused'].values())}")
    if "strokes" in row:
        every = [value for sizes in row["strokes"].values() for value in sizes.values()]
        parts.append(f"strokes {shares(every)}")
    return ", ".join(parts)


def patch_constants(constants):
    "Set constants, given as {'module.NAME': value}; returns the original values."
    originals = {}
    for name, value in constants.items():
        module, constant = (
            import_module(f"mnist_nb.{name.rpartition('.')[0]}"),
            name.rpartition(".")[2],
        )
        originals[name] = getattr(module, constant)
        setattr(module, constant, value)
    return originals


def print_epoch(event):
    "A viewer of events that prints each epoch's accuracy."
    if event["kind"] == "epoch":
        line = f"{event['epoch']} {event['validation_accuracy']:.2%} {event['seconds']:.0f} s"
        print(line, end=", ", flush=True)


def run_recipe(name, seed, epochs, strokes):
    "Train a recipe and evaluate it."
    changes, constants = RECIPES[name]
    config = replace(training.PRESETS["full"], seed=seed, epochs=epochs, time_limit=None, **changes)
    originals = patch_constants({"data.handwriting.ALLOGRAPHS": LEARNT_FORMS} | constants)
    mnist = load_mnist()
    digits, (images, labels) = split(mnist.train_images, mnist.train_labels, NUM_HELD_OUT)
    validation = images[-5000:], labels[-5000:]
    start = time.process_time()
    trained = training.train(config, digits, validation, on_event=print_epoch)
    patch_constants(originals)
    row = {
        "recipe": name,
        "seed": seed,
        "epochs": config.epochs,
        "cpu_seconds": round(time.process_time() - start),
        "parameters": trained.model.count_params(),
    }
    return row | score(outputs_function(trained.model), images, labels, strokes)


def save_row(row, path=ROWS):
    "Write a row, replacing an earlier one of the same trial."
    rows = json.loads(path.read_text()) if path.exists() else []
    rows = [
        other
        for other in rows
        if any(other[key] != row[key] for key in ("recipe", "seed", "epochs"))
    ] + [row]
    write_atomic(path, "[\n" + ",\n".join(json.dumps(each) for each in rows) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--strokes", help="a file of pen strokes")
    parser.add_argument("--rows", type=Path, default=ROWS, help="where the rows go")
    arguments = parser.parse_args()
    if not arguments.names:
        return print("\n".join(RECIPES))
    for name in arguments.names:
        check_choice("NAME", name, tuple(RECIPES))
    for seed in range(arguments.seeds):
        for name in arguments.names:
            print(f"{name}, seed {seed}: ", end="")
            row = run_recipe(name, seed, arguments.epochs, arguments.strokes)
            save_row(row, arguments.rows)
            print("\n" + row_text(row), flush=True)


if __name__ == "__main__":
    main()
