"""What each rule for reading sheets is worth: `python -m tools.sheet_ablation [FOLDER]`.

Simulated sheets, and photos of sheets with known contents in a folder, see `tools.sheets`, are read
with all rules and with one taken out at a time. With a folder the rows go to
nbs/sheet_ablation.json, which the notebook on sheets shows. Without one, or with `--only RULE` for
one rule, they are just printed.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from mnist_nb.core import write_atomic
from mnist_nb.data.mnist import load_mnist
from mnist_nb.reader import Reader
from mnist_nb.vision import sheets
from tools.ablation import replaced
from tools.sheets import read_index, wrong_cells

ROWS = Path(__file__).parent.parent / "nbs" / "sheet_ablation.json"
SIMULATED = 15  # sheets of each kind


def simulated_sheets(widest):
    "Photos of tables of numbers of at most `widest` digits, at all turns, and their texts."
    mnist = load_mnist()
    images, labels = mnist.train_images[-10000:], mnist.train_labels[-10000:]

    def glyph(digit, rng):
        return images[rng.choice(np.flatnonzero(labels == digit))]

    for seed in range(SIMULATED):
        rng = np.random.default_rng((widest, seed))
        lengths = rng.integers(0, widest + 1, (6, 4))
        rows = [[str(rng.integers(10**n)).zfill(n) if n else "" for n in r] for r in lengths]
        size, turn = (300 * (widest + 1), 700), float(rng.uniform(-8, 8))
        photo = sheets.simulate_photo(rows, glyph, seed, (36 + 32 * widest, 64), size, turn=turn)
        yield np.ascontiguousarray(np.rot90(photo, seed % 4)), rows


def photographed_sheets(folder, kind):
    "Photos of one kind and their texts."
    for entry in read_index(folder, kind):
        yield str(folder / entry["file"]), [[str(n or "") for n in row] for row in entry["rows"]]


def sheet_columns(folder):
    "name -> (decoded photo, texts) of each sheet; photos of a folder only where there is one."
    kinds = {f"photos, {kind}": photographed_sheets(folder, kind) for kind in ("filled", "printed")}
    simulated = {
        "simulated, one digit": simulated_sheets(1),
        "simulated, up to three digits": simulated_sheets(3),
    }
    for name, pairs in ((kinds if folder else {}) | simulated).items():
        yield name, [(sheets.decode(photo), rows) for photo, rows in pairs]


def score(reader, pairs):
    "How the photos of a column are read: numbers of cells, and CPU seconds a photo."
    found = dict.fromkeys(("cells", "wrong", "sure and wrong", "unsure", "whole sheets"), 0)
    start = time.process_time()
    for photo, rows in pairs:
        found["cells"] += sum(map(len, rows))
        try:
            sheet = sheets.read_sheet(reader, photo)
            wrong = wrong_cells(sheet, rows)
        except sheets.GridMissing:
            wrong = None
        if wrong is None:
            found["wrong"] += sum(map(len, rows))
            continue
        found["wrong"] += len(wrong)
        found["sure and wrong"] += sum(cell.sure for cell, _ in wrong)
        found["unsure"] += len(sheet.unsure)
        found["whole sheets"] += not wrong
    return found | {"seconds": round((time.process_time() - start) / len(pairs), 3)}


def stretched_as_one(cell):
    "A cell's own ink, stretched as one piece."
    strength = np.where(cell.own_mask, cell.ink, 0).astype(np.float32)
    peak = np.percentile(strength[strength >= 0.4 * max(1, strength.max())], 90)
    low, high = (share * peak for share in sheets.INK_RANGE)
    return np.clip((strength - low) * (255 / max(1, high - low)), 0, 255).astype(np.uint8)


RULES = {
    "all rules": {},
    "faint lines": {"LINE_THRESHOLDS": sheets.LINE_THRESHOLDS[:1]},
    "one bend of the whole sheet": {"fit_common_bend": lambda paths, at: paths.astype(float)},
    "lines moved to what is dark": {"snap_to_ridges": lambda path, *_: path},
    "lines that nothing reaches left out": {
        "drop_unconnected_lines": lambda flat, across, x_at, upright, y_at: (across, upright)
    },
    "missing lines filled in": {"complete_lines": lambda paths, count: paths},
    "sides of cells seen": {"MIN_SIDES_SEEN": 0},
    "the best of overlapping grids": {
        "suppress_overlaps": lambda grids: sorted(grids, key=lambda grid: -grid.area)
    },
    "frames near well-seen ones skipped": {"SAME_GRID_WITHIN": sheets.SAME_WITHIN},
    "crossings followed": {"refine_grid": lambda sheet: sheet.grid},
    "curled corners followed": {"follow_curled_corners": lambda sheet: sheet.grid},
    "fading made even": {"even_strength": lambda sheet: sheet.strength},
    "strokes bridged over lines": {"bridge_lines": lambda *_: None},
    "pieces given to one cell": {"MIN_SHARE_IN_CELL": 2},
    "remnants of lines dropped": {"LINE_REMNANT_REACH": -1},
    "small pieces beside a digit": {"CLOSE_GAP_SHARE": -9},
    "each piece stretched by itself": {"stretched_ink": stretched_as_one},
    "similar cells averaged": {"average_over_similar": lambda shares, pictures: shares},
    "ink is rarely no digit": {"NON_DIGIT_ODDS": 1},
    "wide cells as numbers": {"MULTI_DIGIT_ASPECT": 1e9},
    "faint cells as stains": {"MIN_CELL_STRENGTH": 0, "FAINT_CELL_STRENGTH": 1e-9},
    "an upright photo is likelier": {"UNTURNED_BONUS": 0},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--only", choices=RULES, metavar="RULE")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    columns, reader = dict(sheet_columns(arguments.folder)), Reader.load()
    score(reader, columns["simulated, one digit"][:2])  # what is done once is not counted
    rows = {}
    for rule in [arguments.only] if arguments.only else RULES:
        with replaced(sheets, RULES[rule]):
            rows[rule] = {name: score(reader, pairs) for name, pairs in columns.items()}
        shown = (
            f"{name}: {', '.join(f'{key} {value}' for key, value in row.items())}"
            for name, row in rows[rule].items()
        )
        print(rule, *shown, sep="\n  ", flush=True)
    if arguments.folder and not arguments.only:
        write_atomic(ROWS, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
