"""What the package offers, and what its settings say."""
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

import mnist_nb

ROOT = Path(__file__).parent.parent

def test_help(command):
    said = command('--help').stdout
    for name in ('train', 'evaluate', 'predict', 'models', 'info'): assert re.search(rf'^  {name} ', said, re.MULTILINE)
    for option in ('--preset', '--epochs', '--resume', '--json'): assert option in command('train', '--help').stdout
    assert command('--version').stdout.strip().endswith(mnist_nb.__version__)


@pytest.mark.parametrize('name', mnist_nb.__all__)
def test_public_name_resolves(name):
    assert getattr(mnist_nb, name).__name__ == name and name in dir(mnist_nb)


def test_unknown_name():
    with pytest.raises(AttributeError, match='nothing_of_that_name'): mnist_nb.nothing_of_that_name


@pytest.fixture
def settings():
    parser = ConfigParser()
    parser.read(ROOT/'settings.ini', encoding='utf8')
    return parser['DEFAULT']


def test_version(settings): assert mnist_nb.__version__ == settings['version']


@pytest.mark.parametrize('name', ['requirements', 'dev_requirements'])
def test_requirements_have_floors(settings, name):
    lines = settings[name].split()
    bounds = {'requirements': r'[\w.-]+>=\d[\d.]*(,<\d[\d.]*)?', 'dev_requirements': r'[\w.-]+(>=|==|<)\d[\d.]*'}
    assert len(lines) > 5 and [line for line in lines if not re.fullmatch(bounds[name], line)] == []
