"""Builds the documentation site into _docs/site: `python -m tools.docs`.

Its pages are the notebooks with the outputs that are stored in them, a reference of the modules,
and the web page that reads digits by itself. A link that leads nowhere fails the build.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
DIRECTIVE = re.compile(r"#\| *(\w+)")
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:[A-Z]+(?:\.md)?|tests/[^)]*|tools/[^)]*)\)")


def read_notebook(text):
    """A notebook as a reader wants it: without nbdev's directives, what they hide, and links to
    files that are not on the site.
    """
    notebook = nbformat.reads(text, as_version=4)
    shown = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            cell.source = OUTSIDE.sub(r"\1", cell.source)
            shown.append(cell)
            continue
        lines = cell.source.splitlines()
        directives = {match[1] for line in lines if (match := DIRECTIVE.match(line))}
        cell.source = "\n".join(line for line in lines if not DIRECTIVE.match(line))
        if directives & {"hide", "default_exp"}:
            continue
        if "echo" in directives:
            cell.metadata["tags"] = ["remove-input"]
        shown.append(cell)
    notebook.cells = shown
    return notebook


def main():
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "try.html"
        program = Path(sys.executable).parent / "mnist_nb"
        subprocess.run([program, "export", "--format", "web", "-o", page], check=True)
        strict = ("-q", "-E", "-W", "--keep-going")
        settings = ("-c", "docs", "-D", f"html_extra_path={folder}")
        command = [sys.executable, "-m", "sphinx", *strict, *settings, "nbs", "_docs/site"]
        sys.exit(subprocess.run(command, cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
