"""Runs every check of the project, in the order of CI: `python -m tools.check`.

Notebooks clean, export and README without a difference; each notebook's own tests; the dashboard; pytest; the built wheel in an environment of its own.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
MINUTES = 5


def run(*command, minutes=MINUTES, **options):
    "Run a command in the checkout; end the whole check where it fails or takes too long."
    print('$', *(Path(word).name if os.path.isabs(str(word)) else word for word in command), flush=True)
    try: subprocess.run([str(word) for word in command], check=True, timeout=60*minutes, **dict(cwd=ROOT) | options)
    except subprocess.CalledProcessError as e: sys.exit(f'failed with exit code {e.returncode}')
    except subprocess.TimeoutExpired: sys.exit(f'not done after {minutes} minutes')


def script(name):
    "The path of a command that pip installed beside this Python."
    return Path(sys.executable).parent/name


def fingerprint():
    "What the checkout's files, tracked and new, hold now."
    names = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: hashlib.sha256((ROOT/name).read_bytes()).hexdigest() for name in names if (ROOT/name).is_file()}


def without_difference(*command):
    "Run a command that must leave every file as it was."
    before = fingerprint()
    run(*command)
    after = fingerprint()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed: sys.exit(f"changed by it, so not up to date: {', '.join(changed)}. Commit the new state")


def generated():
    "Notebooks are clean, and package and README are what they export."
    without_difference(script('nbdev_clean'))
    without_difference(script('nbdev_clean'), '--fname', 'dashboard.ipynb')
    without_difference(script('nbdev_export'))
    without_difference(sys.executable, '-m', 'tools.readme')


def notebooks():
    "Each notebook's own tests, in a process of its own."
    for notebook in [*NOTEBOOKS, ROOT/'dashboard.ipynb']:
        run(script('nbdev_test'), '--path', notebook, '--n_workers', '1', '--do_print')


def wheel():
    "The built wheel, installed in a new environment elsewhere, reads a digit and knows its accuracy."
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, '-m', 'pip', 'wheel', '.', '--no-deps', '--quiet', '--wheel-dir', folder)
        built, = Path(folder).glob('*.whl')
        run(sys.executable, '-m', 'venv', Path(folder)/'venv')
        binaries = Path(folder)/'venv'/('Scripts' if os.name == 'nt' else 'bin')
        run(binaries/'python', '-m', 'pip', 'install', '--quiet', built, cwd=folder)
        run(binaries/'mnist_nb', 'info', cwd=folder)
        digit = ROOT/'nbs'/'images'/'drawn.png'
        run(binaries/'mnist_nb', 'predict', digit, cwd=folder)
        answer = subprocess.run([binaries/'mnist_nb', 'evaluate', '--json'], cwd=folder, check=True, capture_output=True, text=True).stdout
        accuracy = json.loads(answer)['accuracy']
        print(f'accuracy of the installed wheel: {accuracy:.2%}')
        if accuracy < .995: sys.exit('the shipped model must read at least 99.50 % of the test digits')


def main():
    for step in (generated, notebooks, lambda: run(sys.executable, '-m', 'pytest', 'tests', '-q', '-p', 'no:cacheprovider', '--durations=15', minutes=40), wheel):
        started = time.monotonic()
        step()
        print(f'-- {time.monotonic() - started:.0f} s', flush=True)


if __name__ == '__main__': main()
