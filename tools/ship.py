"""Puts a trained version into the package, with the tables that the README shows: `python -m
tools.ship VERSION`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from mnist_nb.model.registry import ModelRegistry

PRETRAINED = Path(__file__).parent.parent / "mnist_nb" / "pretrained"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = ModelRegistry().path(sys.argv[1])
    shutil.rmtree(PRETRAINED, ignore_errors=True)
    shutil.copytree(source, PRETRAINED)
    subprocess.run(
        [sys.executable, "-m", "tools.tables", "--write"], check=True, cwd=PRETRAINED.parent.parent
    )
    print(f"{source.name} is now {PRETRAINED}")


if __name__ == "__main__":
    main()
