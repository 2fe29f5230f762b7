"""Runs every check of the project, in the order of CI: `python -m tools.check`.

Formatting; notebooks clean; export, README and figures up to date; in parallel, the built wheel in
a new environment, the documentation, types, vulnerabilities of the installed packages, if their
list can be reached, and each notebook's tests; pytest. `--all` adds slow tests.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "nbs").rglob("*.ipynb"))
WRITTEN_PATHS = ("mnist_nb", "nbs", "README.md", "dashboard.ipynb")
ALL = "--all" in sys.argv[1:]
FIGURES = ROOT / "nbs" / "stories" / "94_figures.ipynb"
TIMEOUT_MINUTES = 10
# whoever comes last works alone, so the longest are first
LONGEST = ("60_trainer", "54_picture_kinds", "61_pipeline", "53_explanation", "51_corruptions")
# one more than there are cores, for each waits now and then; but no more than memory is there for
WORKERS = min(4, (os.cpu_count() or 1) + 1)


def run(*command, timeout_minutes=TIMEOUT_MINUTES, live=False, **options):
    """Run a command in the checkout and print its output, `live` or at its end; exit if it fails or
    takes too long.

    Its output goes to a file: a pipe would stay open until the last process that it leaves behind,
    such as Ray's, is gone.
    """
    shown_words = [Path(word).name if os.path.isabs(str(word)) else str(word) for word in command]
    shown_command = f"$ {' '.join(shown_words)}"
    if live:
        print(shown_command, flush=True)
    started = time.monotonic()
    with tempfile.TemporaryFile() as file:
        outputs = {} if live else {"stdout": file, "stderr": subprocess.STDOUT}
        try:
            exit_code = subprocess.run(
                [str(word) for word in command],
                timeout=60 * timeout_minutes,
                **{"cwd": ROOT} | outputs | options,
            ).returncode
        except subprocess.TimeoutExpired:
            exit_code = None
        file.seek(0)
        output = file.read().decode(errors="replace")
    if not live:
        seconds = time.monotonic() - started
        print(f"{shown_command} ({seconds:.0f} s)\n{output}", end="", flush=True)
    if exit_code is None:
        sys.exit(f"{shown_command} was not done after {timeout_minutes} minutes")
    if exit_code:
        sys.exit(f"{shown_command} failed with exit code {exit_code}")


def script_path(name):
    "The path of a command that pip installed beside this Python."
    return Path(sys.executable).parent / name


def file_hashes():
    "The hashes of all files that commands write, tracked and new."
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *WRITTEN_PATHS],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return {
        name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
        for name in names
        if (ROOT / name).is_file()
    }


def check_unchanged(*command):
    "Run a command; exit if it changes a file."
    before = file_hashes()
    run(*command)
    after = file_hashes()
    changed = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    if changed:
        sys.exit(f"not up to date, changed by it: {', '.join(changed)}. Commit the new state")


def lint():
    "Formatting and lint."
    places = ("nbs", "tests", "tools", "docs", "dashboard.ipynb", "setup.py")
    run(script_path("ruff"), "format", "--check", *places)
    run(script_path("ruff"), "check", *places)


def check_generated():
    "Notebooks are clean; package, README and figures are up to date."
    check_unchanged(script_path("nbdev_clean"))
    check_unchanged(script_path("nbdev_clean"), "--fname", "dashboard.ipynb")
    check_unchanged(script_path("nbdev_export"))
    check_unchanged(sys.executable, "-m", "tools.outputs", FIGURES)
    check_unchanged(sys.executable, "-m", "tools.readme")


def types():
    "The package's types fit together."
    run(script_path("mypy"), "mnist_nb")


def audit():
    "No installed package has a known vulnerability, if the list of them can be reached."
    run(sys.executable, "-m", "tools.audit")


def notebook(path):
    "A notebook's own tests, in a process of its own."
    slow = ["--flags", "slow"] if ALL else []
    run(script_path("nbdev_test"), "--path", path, "--n_workers", "1", "--do_print", *slow)


def check_served_page(program, folder):
    "The installed program serves the page and the API."
    server = subprocess.Popen(
        [program, "serve", "--port", "0", "--no-browser"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = server.stdout.readline().split()[3]
        page, ready = (
            urllib.request.urlopen(url + path, timeout=60).read().decode()
            for path in ("", "api/health/ready")
        )
        has_widgets = re.search(r'"views": \["[^"]+"\].*"visit": "[^"]+"', page)
        if not has_widgets or "ready" not in ready:
            sys.exit(f"the installed wheel serves no page: {ready} {page[-500:]}")
        print(f"the installed wheel serves {len(page)} bytes of a page with its widgets")
    finally:
        server.terminate()
        server.wait(20)


def run_json(*command, **options):
    "The JSON that a command prints."
    result = subprocess.run(command, check=True, capture_output=True, text=True, **options)
    return json.loads(result.stdout)


def wheel():
    """The built wheel, installed without extras in a new environment, reads a digit, is accurate,
    serves its page, and says what training needs; with TensorFlow it trains.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip, quickly = (sys.executable, "-m", "pip"), ("--quiet", "--no-compile")
        run(*pip, "wheel", ".", "--no-deps", "--quiet", "--wheel-dir", folder)
        (built,) = folder.glob("*.whl")
        run(sys.executable, "-m", "venv", folder / "ü x")
        binaries = folder / "ü x" / ("Scripts" if os.name == "nt" else "bin")
        program = binaries / "mnist_nb"
        run(binaries / "python", "-m", "pip", "install", *quickly, built, cwd=folder)
        run(program, "info", cwd=folder)
        run(program, "predict", ROOT / "nbs" / "images" / "drawn.png", cwd=folder)
        accuracy = run_json(program, "evaluate", "--json", cwd=folder)["accuracy"]
        print(f"accuracy of the installed wheel: {accuracy:.2%}")
        if accuracy < 0.995:
            sys.exit("the shipped model must read at least 99.50 % of the test digits")
        check_served_page(program, folder)
        refused = subprocess.run([program, "train"], cwd=folder, capture_output=True, text=True)
        if refused.returncode == 0 or "pip install 'mnist_nb[train]'" not in refused.stderr:
            sys.exit(f"without TensorFlow, train must say what to install, not: {refused.stderr}")
        data = Path(run_json(program, "info", "--json", cwd=folder)["home"], "data", "mnist.npz")
        run(*pip, "install", *quickly, "--no-deps", "--target", folder / "wheel", built)
        own = {
            "PYTHONPATH": str(folder / "wheel"),
            "MNIST_NB_HOME": str(folder / "home"),
            "MNIST_NB_DATA": os.environ.get("MNIST_NB_DATA") or str(data),
        }
        short = ("--preset", "quick", "--epochs", "1", "--time-limit", "1", "--dense", "8")
        small = (*short, "--non-digits", "0", "--evaluation-digits", "200")
        train = (sys.executable, "-m", "mnist_nb.cli", "train", *small)
        run(*train, cwd=folder, env=os.environ | own)


def documentation():
    "The documentation site has no broken links."
    run(sys.executable, "-m", "tools.docs")


def notebooks_and_wheel():
    "The wheel, the documentation, types, the audit and all notebooks, some at a time."
    notebooks = sorted(NOTEBOOKS, key=lambda path: path.stem not in LONGEST)
    with ThreadPoolExecutor(WORKERS) as pool:
        steps = [
            *(pool.submit(step) for step in (wheel, documentation, types, audit)),
            *(pool.submit(notebook, path) for path in notebooks),
            pool.submit(notebook, ROOT / "dashboard.ipynb"),
        ]
        try:
            for step in as_completed(steps):
                step.result()
        finally:
            pool.shutdown(cancel_futures=True)


def tests():
    """All tests in `tests`, some files at a time; those in a browser stay last."""
    run(
        sys.executable,
        "-m",
        "pytest",
        "tests",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        str(WORKERS),
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
        "--durations=15",
        *(["--all"] if ALL else []),
        timeout_minutes=60 if ALL else 40,
        live=True,
    )


def main():
    # some hundred processes would each compile the package, and each worker the tests
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for step in (lint, check_generated, notebooks_and_wheel, tests):
        started = time.monotonic()
        step()
        print(f"-- {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
