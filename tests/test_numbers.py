"""Numbers keep a place for all that is written, in Python, over the API and at the command line."""

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mnist_nb.analysis.number_kinds import NUMBER_KINDS
from mnist_nb.cli import main
from mnist_nb.model.registry import ModelRegistry
from mnist_nb.reader import ActiveReader, Reader
from mnist_nb.serving.api import create_app
from mnist_nb.training.jobs import Jobs

KINDS = "with a blot", "with a scribble", "with signs"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    registry = ModelRegistry(home / "models")
    return create_app(ActiveReader(registry), registry, Jobs(home / "jobs")).test_client()


def made(kind, seed=1):
    return NUMBER_KINDS[kind](np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_picture_and_api_give_the_same_number(kind, client):
    picture = made(kind)[0]
    number = Reader.load().read_number(picture)
    content = cv2.imencode(".png", picture)[1].tobytes()
    answer = client.post("/api/predict?number=1", data=content, content_type="image/png").json
    assert answer["number"] == number and answer["signed"] == number.signed
    assert [each["rejected"] for each in answer["digits"]] == [text == "?" for text in number]
    assert answer["uncertain"] or "?" not in number


@pytest.mark.parametrize("kind", ("apart", "overlapping by a fifth"))
def test_strokes_in_any_form_give_one_answer(kind, client):
    _, text, strokes = made(kind)
    plain = [stroke.tolist() for stroke in strokes]
    timed = [[[x, y, at] for at, (x, y) in enumerate(stroke)] for stroke in plain]
    named = [[{"x": x, "y": y} for x, y in stroke] for stroke in plain]
    columns = [np.transpose(stroke).tolist() for stroke in plain]
    answers = {
        client.post("/api/predict?number=1", json={"strokes": form}).json["number"]
        for form in (plain, timed, named, columns)
    }
    assert answers == {text}


def test_the_command_line_says_what_is_unread_and_which_signs_there_are(tmp_path):
    for kind in KINDS:
        cv2.imwrite(str(tmp_path / "number.png"), made(kind)[0])
        shown = CliRunner().invoke(main, ["predict", "--number", str(tmp_path / "number.png")])
        as_json = CliRunner().invoke(
            main, ["predict", "--number", "--json", str(tmp_path / "number.png")]
        )
        answer = json.loads(as_json.output)
        assert answer["number"] in shown.output and answer["reason"] in shown.output
        assert ("cannot be read" in shown.output) == ("?" in answer["number"])
        assert ("with signs" in shown.output) == bool(answer["signs"])


def test_several_digits_given_to_read_are_named():
    reader = Reader.load()
    hints = [reader.read(made("apart", seed)[0]) for seed in range(8)]
    refused = [reading for reading in hints if reading.rejected]
    assert refused and all("read_number" in reading.hint for reading in refused)
    assert not any(reading.hint for reading in hints if not reading.rejected)
