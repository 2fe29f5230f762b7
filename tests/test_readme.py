"""The README says what is so."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def readme():
    return (ROOT / "README.md").read_text(encoding="utf8")


def test_accuracy_is_the_shipped_models(readme):
    report = json.loads(
        (ROOT / "mnist_nb" / "pretrained" / "report.json").read_text(encoding="utf8")
    )
    (said,) = re.findall(r"\*\*([\d.]+) ?%\*\*", readme)
    assert said == f"{100 * report['test']['accuracy']:.2f}"


@pytest.mark.parametrize("word", ["mnist_nb", "tools.check"])
def test_command_in_one_line(readme, word):
    assert [line for line in readme.splitlines() if "pip install" in line and word in line]


def test_links_lead_somewhere(readme):
    links = re.findall(r"\]\(([^)\s]+)", readme) + re.findall(r'(?:src|href)="([^"]+)"', readme)
    inner = [link.split("#")[0] for link in links if not re.match(r"\w+:|#", link)]
    assert (
        inner
        and [
            link
            for link in inner
            if not (ROOT / link).exists() or not (ROOT / link).resolve().is_relative_to(ROOT)
        ]
        == []
    )
