"""Makes README.md of nbs/index.ipynb: `python -m tools.readme`.

Hidden cells and code marked `#| echo: false` are left out; what they print or show is not.
"""

import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent


def cell_markdown(cell):
    "A cell as Markdown."
    if cell.cell_type == "markdown":
        return cell.source
    if cell.source.startswith("#| hide"):
        return ""
    parts = [] if "#| echo: false" in cell.source else [f"```python\n{cell.source}\n```"]
    return "\n\n".join(parts + [output_markdown(output) for output in cell.outputs])


def output_markdown(output):
    "An output as Markdown: Markdown as it is, anything else as a block."
    if output.output_type == "stream":
        return output.text.strip()
    data = output.data
    return (
        data["text/markdown"].strip()
        if "text/markdown" in data
        else f"```\n{data['text/plain']}\n```"
    )


def relink(markdown):
    "Relative links, made relative to the root instead of nbs."
    return re.sub(
        r"\]\((?!https?:|#)([^)]+)\)",
        lambda link: f"]({os.path.normpath('nbs/' + link[1])})",
        markdown,
    )


def main():
    notebook = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": ROOT / "nbs"}}
    ).execute()
    parts = [part for cell in notebook.cells if (part := cell_markdown(cell))]
    (ROOT / "README.md").write_text(relink("\n\n".join(parts)) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
