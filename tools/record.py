"""Writes what a run of the preset `record` gave to nbs/record.json, which the notebook on recipes
shows: `python -m tools.record VERSION`.
"""

import csv
import json
import sys
from pathlib import Path

from mnist_nb.core import write_atomic
from mnist_nb.model.registry import ModelRegistry

RESULTS = Path(__file__).parent.parent / "nbs" / "record.json"
FIGURES = "images", "accuracy", "interval", "loss", "calibration_error"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = ModelRegistry().path(sys.argv[1])
    config, report = (
        json.loads((folder / name).read_text()) for name in ("config.json", "report.json")
    )
    *_, last_epoch = csv.DictReader((folder / "history.csv").read_text().splitlines())
    results = {name: config[name] for name in ("cores", "seconds", "made", "parameters")}
    results |= {
        "command": config["command"],
        "seed": config["config"]["seed"],
        "epochs": config["epochs_done"],
        "teachers": config["teachers"],
        "last_validation_accuracy": float(last_epoch["validation_accuracy"]),
        "report": {
            split: {name: figures[name] for name in FIGURES} for split, figures in report.items()
        },
    }
    write_atomic(RESULTS, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
