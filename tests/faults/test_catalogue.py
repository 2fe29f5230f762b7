"""The catalogue is whole: 52 rows, each with its tests, and what is shown of them is of this
catalogue.
"""

import json
import re
from pathlib import Path

import pytest

from tools.faults import NEVER

FOLDER = Path(__file__).parent
ROWS = json.loads((FOLDER / "catalogue.json").read_text(encoding="utf8"))
NAMES = {
    name
    for path in FOLDER.parent.rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf8"), re.MULTILINE)
}


def test_no_row_is_missing():
    assert [row["number"] for row in ROWS] == [*range(1, 53)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row {row['number']}")
def test_a_row_has_its_tests(row):
    own = [
        name
        for name in NAMES
        if f"{row['number']:02}" in re.match(r"test_((?:\d\d_)*)", name)[1].split("_")
    ]
    assert own and set(row.get("also", ())) <= NAMES


def test_the_result_is_that_of_this_catalogue():
    result = json.loads((FOLDER / "result.json").read_text(encoding="utf8"))["rows"]
    assert [
        {name: value for name, value in row.items() if name not in ("passed", "failed", "skipped")}
        for row in result
    ] == ROWS
    assert not [row["number"] for row in result if row["failed"] or not row["passed"]]


def test_the_long_forms_lost_nothing():
    figures = json.loads((FOLDER / "long.json").read_text(encoding="utf8"))
    assert {name for row in ROWS for name in row.get("long", ())} == set(figures)
    for name in NEVER:
        assert not {form: figure[name] for form, figure in figures.items() if figure.get(name)}
