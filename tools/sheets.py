"""How photos of sheets with known contents are read: `python -m tools.sheets FOLDER`.

The folder holds pictures and `index.json`: for each picture its file, its kind, and its rows of
digits, 0 for a blank cell. `--half 0` or `1` reads every other photo, `--kind` one kind.
`--forms N` prints how N pages of forms of our own are read; a folder is not needed then.
"""

import argparse
import json
import time
from pathlib import Path

from mnist_nb.core import MnistNbError
from mnist_nb.reader import Reader
from mnist_nb.vision.sheets import read_sheet
from tools.forms import print_forms


def read_index(folder, kind=None, half=None):
    "The index's entries, optionally of one kind, or every second of each kind."
    entries = json.loads((folder / "index.json").read_text(encoding="utf8"))
    kinds = [kind] if kind else sorted({entry["kind"] for entry in entries})
    parts = [[entry for entry in entries if entry["kind"] == each] for each in kinds]
    return [entry for part in parts for entry in (part if half is None else part[half::2])]


def wrong_cells(sheet, rows):
    "The misread cells and their true texts; None if the table has another size."
    grid = sheet.straight.grid
    if (grid.rows, grid.columns) != (len(rows), len(rows[0])):
        return None
    return [
        (cell, truth)
        for cell in sheet.cells
        if cell.text != (truth := str(rows[cell.row][cell.column] or ""))
    ]


def print_scores(kind, results):
    "Print the scores of the sheets of a kind."
    cells = sum(r["cells"] for r in results)
    blanks = sum(r["blanks"] for r in results)
    seconds = sorted(r["seconds"] for r in results)
    invented = sum(r["invented"] for r in results)
    print(
        f"{kind:<10} {len(results):>3} sheets"
        f" {sum(not r['wrong'] for r in results) / len(results):>7.1%} whole"
        f" {1 - sum(r['wrong'] for r in results) / cells:>8.2%} of cells, blank read as digits"
        f" {invented} of {blanks}, wrong and sure {sum(r['unsaid'] for r in results)}, unsure"
        f" {sum(r['unsure'] for r in results)}, {seconds[len(seconds) // 2]:.2f} s a sheet, at most"
        f" {seconds[-1]:.2f} s"
    )


def score_photo(reader, folder, entry):
    "Read one picture and print its mistakes; returns its scores."
    rows, name = entry["rows"], entry["file"]
    cells = [value for row in rows for value in row]
    result = {
        "cells": len(cells),
        "blanks": cells.count(0),
        "invented": 0,
        "unsaid": 0,
        "unsure": 0,
    }
    start = time.perf_counter()
    try:
        sheet = read_sheet(reader, folder / name)
    except MnistNbError as e:
        print(f"{name}: {e}")
        return result | {"wrong": len(cells), "seconds": time.perf_counter() - start}
    result["seconds"] = time.perf_counter() - start
    wrong = wrong_cells(sheet, rows)
    if wrong is None:
        print(f"{name}: {sheet.straight.grid}, expected {len(rows)} x {len(rows[0])}")
        return result | {"wrong": len(cells)}
    for cell, truth in wrong:
        place = f"row {cell.row + 1}, column {cell.column + 1}"
        print(
            f"{name}: {place}: {truth or 'blank'} read as {cell.text or 'blank'}, "
            f"{cell.confidence:.0%}{', sure' if cell.sure else ''}"
        )
    return result | {
        "wrong": len(wrong),
        "invented": sum(not truth for _, truth in wrong),
        "unsaid": sum(cell.sure for cell, _ in wrong),
        "unsure": len(sheet.unsure),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--forms", type=int, metavar="N", help="also read N pages of forms")
    parser.add_argument("--kind", help="only pictures of this kind")
    parser.add_argument("--half", type=int, choices=(0, 1), help="only every second picture")
    parser.add_argument("--model", help="version of the model; by default the current one")
    arguments = parser.parse_args()
    if not (arguments.folder or arguments.forms):
        parser.error("expected a folder, or --forms N")
    if arguments.forms:
        print_forms(arguments.forms, arguments.model)
    if not arguments.folder:
        return
    reader = Reader.load(arguments.model)
    results = {}
    for entry in read_index(arguments.folder, arguments.kind, arguments.half):
        scores = score_photo(reader, arguments.folder, entry)
        results.setdefault(entry["kind"], []).append(scores)
    print()
    for kind, scores in results.items():
        print_scores(kind, scores)


if __name__ == "__main__":
    main()
