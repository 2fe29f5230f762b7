"""Times trainings, all in one run: `python -m tools.bench_training [--only NAME...] [--epochs N]
[--threads N] [--write]`.

Images learnt per second, and CPU seconds until 99.0 % and 99.5 % of the test digits are read
rightly: for the presets `quick` and `full`; for the documented network under `keras.Model.fit`
(Adam, batches of 128),
as Keras comes and with oneDNN's kernels, which this package turns on; and, where PyTorch is
installed, for the network and recipe of its own MNIST example. The test digits are read after each
epoch, off the clock,
and never used to stop or choose. The CPU seconds are those of all threads, from before the network
is built, all preparation included, imports not. The ratios are what counts.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time

import numpy as np

from tools.bench import format_table, write_results

GOALS = 0.99, 0.995
PLAIN_EPOCHS, TORCH_EPOCHS = 8, 14


class Clock:
    "CPU seconds and seconds of a training, without its evaluations."

    def __init__(self):
        self.started, self.rows = self.times(), []

    def times(self):
        return np.array([time.process_time(), time.perf_counter()])

    def evaluate(self, accuracy):
        "Record the accuracy that a function returns, and the times so far."
        now = self.times()
        self.rows.append((*(now - self.started).tolist(), accuracy()))
        self.started += self.times() - now
        print(
            f"epoch {len(self.rows)}: {self.rows[-1][2]:.2%} after {self.rows[-1][0]:.0f} CPU"
            " seconds",
            file=sys.stderr,
            flush=True,
        )


def train_preset(name, epochs, threads):
    "Train with one of the package's presets, step by step as `train` does."
    from mnist_nb.data.mnist import load_mnist, split
    from mnist_nb.model.network import import_keras
    from mnist_nb.training import trainer as training
    from mnist_nb.training.config import configure

    import_keras()
    mnist = load_mnist()
    train_data, _ = split(mnist.train_images, mnist.train_labels)
    config = configure(name, epochs=epochs)
    clock, learner = Clock(), training.Learner(config)
    train_set = training.build_training_set(train_data, config)
    steps, accuracy = (
        len(train_set.images) // config.batch_size,
        lambda: training.validate(learner, mnist.test_images, mnist.test_labels)[1],
    )
    for epoch in range(1, config.epochs + 1):
        for batch, (images, labels) in enumerate(training.batches(train_set, config, epoch), 1):
            learner.train_step(
                images,
                labels,
                training.learning_rate_at((epoch - 1 + batch / steps) / config.epochs, config),
            )
        clock.evaluate(accuracy)
    return clock.rows, len(train_data[0])


def keras_fit(epochs, threads):
    "Train the documented network with Keras' own loop."
    import keras

    from mnist_nb.data.mnist import load_mnist
    from mnist_nb.model.network import build_model, network_input

    mnist = load_mnist()
    keras.utils.set_random_seed(0)
    clock, model = Clock(), build_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    test = network_input(mnist.test_images)

    def accuracy():
        return float(
            (model.predict(test, batch_size=500, verbose=0).argmax(1) == mnist.test_labels).mean()
        )

    model.fit(
        network_input(mnist.train_images),
        mnist.train_labels,
        batch_size=128,
        epochs=epochs or PLAIN_EPOCHS,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: clock.evaluate(accuracy)
            )
        ],
    )
    return clock.rows, len(mnist.train_images)


def keras_fit_with_onednn(epochs, threads):
    "The same with the setting for TensorFlow that this package makes, which affects only speed."
    from mnist_nb.model.network import import_keras

    import_keras()
    return keras_fit(epochs, threads)


def torch_example(epochs, threads):
    """Train PyTorch's example: two convolutions, dropout, Adadelta with a learning rate of 1, which
    each epoch multiplies by 0.7, batches of 64.
    """
    import torch
    from torch import nn

    from mnist_nb.data.mnist import load_mnist

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    mnist, clock = load_mnist(), Clock()

    def inputs(images):
        return (torch.from_numpy(images.astype(np.float32) / 255)[:, None] - 0.1307) / 0.3081

    images, labels, test = (
        inputs(mnist.train_images),
        torch.from_numpy(mnist.train_labels.astype(np.int64)),
        inputs(mnist.test_images),
    )
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)

    def accuracy():
        model.eval()
        with torch.no_grad():
            predicted = torch.cat([model(part) for part in test.split(500)]).argmax(1).numpy()
        model.train()
        return float((predicted == mnist.test_labels).mean())

    for _ in range(epochs or TORCH_EPOCHS):
        for chosen in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
        schedule.step()
        clock.evaluate(accuracy)
    return clock.rows, len(images)


TRAININGS = {
    "quick": lambda *arguments: train_preset("quick", *arguments),
    "plain fit": keras_fit,
    "plain fit, oneDNN on": keras_fit_with_onednn,
    "full": lambda *arguments: train_preset("full", *arguments),
    "PyTorch example": torch_example,
}


def run_in_process(name, epochs, threads):
    "The rows of one training, in a process of its own so that none warms up another."
    command = [
        sys.executable,
        "-m",
        "tools.bench_training",
        "--inside",
        "--only",
        name,
        "--threads",
        str(threads),
        *(["--epochs", str(epochs)] if epochs else []),
    ]
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    result = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ | environment
    )
    return json.loads(result.stdout.splitlines()[-1])


def seconds_until(rows, goal):
    "CPU seconds until an accuracy was reached; None if it never was."
    return next((seconds for seconds, _, accuracy in rows if accuracy >= goal), None)


def table(results):
    "A row of texts by column for each training; first the ratios to plain fit, if it was run."
    base = results.get("plain fit")

    def ratio(mine, other):
        return f"{mine / other:.2f}" if mine and other else "-"

    def speed(rows, images, clock):
        return images * len(rows) / rows[-1][clock]

    rows = []
    for name, (epochs, images) in results.items():
        goals = {
            f"{goal:.1%}": (seconds_until(epochs, goal), base and seconds_until(base[0], goal))
            for goal in GOALS
        }
        row = {"training": name} | {
            f"CPU time to {goal}, of plain fit": ratio(*times) for goal, times in goals.items()
        }
        row |= {
            "images/CPU s, of plain fit": ratio(speed(epochs, images, 0), base and speed(*base, 0))
        }
        row |= {
            f"CPU s to {goal}": f"{times[0]:.0f}" if times[0] else "never"
            for goal, times in goals.items()
        }
        row |= {
            "images/CPU s": f"{speed(epochs, images, 0):.0f}",
            "images/s": f"{speed(epochs, images, 1):.0f}",
        }
        rows.append(
            row | {"epochs": str(len(epochs)), "test accuracy at the end": f"{epochs[-1][2]:.2%}"}
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only",
        nargs="+",
        choices=TRAININGS,
        default=[
            name
            for name in TRAININGS
            if name != "PyTorch example" or importlib.util.find_spec("torch")
        ],
    )
    parser.add_argument("--epochs", type=int, help="instead of each one's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--write",
        action="store_true",
        help="keep what was measured in nbs/bench_training.json, for the notebooks and the README",
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return print(json.dumps(TRAININGS[arguments.only[0]](arguments.epochs, arguments.threads)))
    results = {}
    for name in arguments.only:
        results[name] = run_in_process(name, arguments.epochs, arguments.threads)
        if arguments.write:
            write_results(
                "bench_training",
                {
                    "threads": arguments.threads,
                    "rows": table(results),
                    "epochs": {name: epochs for name, (epochs, _) in results.items()},
                },
            )
    print(format_table(table(results)))


if __name__ == "__main__":
    main()
