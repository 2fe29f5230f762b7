"""The fault catalogue, each row with the tests that prove it: `python -m tools.faults [--write]`,
and with what takes long: `python -m tools.faults --long [NAME...] [--write]`.

Runs the tests that are named after a row's number (`test_08_mutated_bytes`), or after several, and
those elsewhere that the row names; counts them for each row, and exits with 1 if a row has no test
or one that fails. The long forms are kills, fuzz (which needs `pip install atheris`), strange,
crowd, overload, flood and soak, half an hour in all; their figures are measured on a server of
their own.
With --write the result is kept in tests/faults/result.json and long.json, where the README and the
notebook on faults find it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from tests import endurance
from tests.serving import Served

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "faults"


def read_json(name):
    return json.loads((FOLDER / name).read_text(encoding="utf8"))


def write_json(name, content):
    (FOLDER / name).write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf8"
    )


def pytest_paths(rows):
    "The arguments with which pytest finds the tests of all rows."
    names = {name for row in rows for name in row.get("also", ())}
    results = [
        f"{path}::{name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf8"), re.MULTILINE)
        if name in names
    ]
    return [str(FOLDER), *results]


def run_tests(rows):
    """Run the tests of all rows; returns each row's outcomes, 'passed', 'failed' or 'skipped', and
    the number of tests, of which one may prove several rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                *pytest_paths(rows),
                "-q",
                "-p",
                "no:cacheprovider",
                f"--junitxml={report}",
            ],
            cwd=ROOT,
            check=False,
        )
        results, tests = defaultdict(list), 0
        for case in ElementTree.parse(report).iter("testcase"):
            outcome = (
                "failed"
                if {"failure", "error"} & {each.tag for each in case}
                else "skipped"
                if case.find("skipped") is not None
                else "passed"
            )
            name = case.get("name").partition("[")[0]
            numbers = {
                int(number)
                for number in re.findall(r"\d\d(?=_)", re.match(r"(?:test_)?((?:\d\d_)*)", name)[1])
            } | {row["number"] for row in rows if name in row.get("also", ())}
            for number in numbers:
                results[number].append(outcome)
            tests += bool(numbers)
        return results, tests


def run_short():
    "Run the tests of all rows; each row with its counts, and how many tests there are."
    rows = read_json("catalogue.json")
    results, tests = run_tests(rows)
    rows = [
        row | {kind: results[row["number"]].count(kind) for kind in ("passed", "failed", "skipped")}
        for row in rows
    ]
    for row in rows:
        print(
            f"{row['number']:>2}  {row['tier']:<4} {row['passed']:>4} passed {row['failed']:>3}"
            f" failed {row['skipped']:>3} skipped  {row['fault']}"
        )
    return rows, tests


@contextmanager
def server(**options):
    "A server, stopped at the end."
    served = Served(**options)
    try:
        yield served
    finally:
        served.stop()


def strange():
    with server(warm=0) as served:
        return endurance.strange(served, 1500)


def crowd():
    with server(warm=0) as served:
        return endurance.crowd(served, 50, 60)


def overload():
    with server(warm=0) as served:
        return endurance.overload(served, 256, 10_000)


def flood():
    with server(warm=0) as served:
        return endurance.flood(served, 20, 60)


def soak():
    with server() as served:
        return endurance.soak(served, 20 * 60)


LONG = {
    "kills": lambda: endurance.kills(50),
    "fuzz": lambda: endurance.fuzz(600, FOLDER / "crashes"),
    "strange": strange,
    "crowd": crowd,
    "overload": overload,
    "flood": flood,
    "soak": soak,
}
NEVER = (
    "lost",
    "surprises",
    "errors",
    "unanswered",
    "failures",
    "unread",
    "silent",
    "failed_visits",
    "kernels_left",
)


def run_long(names, write):
    "Run the long forms of these names; returns their failures."
    failures = []
    for name in names:
        with tempfile.TemporaryDirectory() as home:
            os.environ["MNIST_NB_HOME"] = home
            results = LONG[name]()
        print(name, json.dumps(results), flush=True)
        failures += [f"{name}: {word} is {results[word]}" for word in NEVER if results.get(word)]
        path = FOLDER / "long.json"
        if write:
            write_json(
                "long.json",
                (read_json("long.json") if path.exists() else {})
                | {name: results | {"made": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()}},
            )
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the result")
    parser.add_argument(
        "--long", nargs="*", choices=[*LONG, []], help="run the long forms of these names, or all"
    )
    arguments = parser.parse_args()
    if arguments.long is not None:
        failures = run_long(arguments.long or LONG, arguments.write)
        sys.exit("; ".join(failures) or 0)
    rows, tests = run_short()
    if arguments.write:
        write_json("result.json", {"made": time.strftime("%Y-%m-%d"), "tests": tests, "rows": rows})
    unproven = [row["number"] for row in rows if not row["passed"] or row["failed"]]
    print(
        f"\n{len(rows) - len(unproven)} of {len(rows)} rows are proven"
        + f"; not: {', '.join(map(str, unproven))}" * bool(unproven)
    )
    sys.exit(1 if unproven else 0)


if __name__ == "__main__":
    main()
