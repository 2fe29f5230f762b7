"""A handwritten-digit recogniser to install, look into and learn from."""

__version__ = "0.1.0"

_HOMES = {
    "MNISTClassifier": "classifier",
    "Reader": "reader",
    "Reading": "reader",
    "read_digit": "reader",
    "load_mnist": "data.mnist",
    "train_version": "training.jobs",
    "MnistNbError": "core",
}
__all__ = [*_HOMES]


def __getattr__(name):
    "Import a public name's module when the name is first used: `import mnist_nb` costs nothing."
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"mnist_nb.{_HOMES[name]}"), name)


def __dir__():
    return [*__all__, "__version__"]
