"""Runs notebooks and stores their outputs: `python -m tools.outputs [NOTEBOOK...]`, by default all
of nbs.

Stored are pictures (in JPEG if there are two formats), tables and printed text, but not what
differs from run to run or needs a kernel: execution counts, log lines, widgets.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
WIDGET = "application/vnd.jupyter.widget-view+json"


def is_worth_keeping(output):
    "Whether an output is worth keeping."
    return output.get("name") != "stderr" and WIDGET not in output.get("data", {})


def run(path):
    "Run a notebook and store its outputs in it."
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, kernel_name="python3", timeout=600, resources={"metadata": {"path": path.parent}}
    ).execute()
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [output for output in cell.outputs if is_worth_keeping(output)]
        for output in cell.outputs:
            output.pop("execution_count", None)
            if {"image/jpeg", "image/png"} <= output.get("data", {}).keys():
                del output["data"]["image/png"]
            if output.output_type == "execute_result":
                output["execution_count"] = None
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf8")


def main():
    paths = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "nbs").rglob("*.ipynb"))
    for path in paths:
        print(path.name, flush=True)
        run(path.resolve())


if __name__ == "__main__":
    main()
