"""A handwritten-digit recogniser to install, look into and learn from."""
__version__ = "0.1.0"

_HOMES = {'MNISTClassifier': 'classifier', 'Reader': 'inference', 'Reading': 'inference', 'read_digit': 'inference',
          'load_mnist': 'data', 'train_version': 'jobs', 'MnistNbError': 'core'}
__all__ = [*_HOMES]


def __getattr__(name):
    "A public name's module is imported when the name is first used, so that `import mnist_nb` costs nothing."
    if name not in _HOMES: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return getattr(import_module(f'mnist_nb.{_HOMES[name]}'), name)


def __dir__(): return [*__all__, '__version__']
