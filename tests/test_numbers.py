"""Numbers keep a place for all that is written, in Python, over the API and at the command line."""

import json
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mnist_nb.analysis.number_kinds import NUMBER_KINDS, number_kinds_table
from mnist_nb.cli import main
from mnist_nb.core import ModelCorrupt
from mnist_nb.model import sequence
from mnist_nb.model.registry import ModelRegistry
from mnist_nb.reader import ActiveReader, Reader
from mnist_nb.serving.api import create_app
from mnist_nb.training.jobs import Jobs
from mnist_nb.vision import segmentation

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


OVERLAPPING = "overlapping by a tenth", "overlapping by a fifth"


def test_digits_that_touch_are_read_as_a_row(monkeypatch):
    reader = Reader.load()
    read = number_kinds_table(reader, 20, OVERLAPPING)
    monkeypatch.setattr(segmentation, "row_candidates", lambda *arguments: [])
    one_by_one = number_kinds_table(reader, 20, OVERLAPPING)
    assert read[OVERLAPPING[0]]["right"] >= 0.65 and read[OVERLAPPING[1]]["right"] >= 0.45
    assert all(read[kind]["right"] >= one_by_one[kind]["right"] + 0.2 for kind in OVERLAPPING)


def test_a_digit_of_a_row_has_a_place_and_a_confidence():
    rng = np.random.default_rng(3)
    for _ in range(6):
        picture, _, _ = NUMBER_KINDS[OVERLAPPING[1]](rng)
        number = Reader.load().read_number(picture)
        boxes = [reading.prepared.box for reading in number.digits]
        lefts = [left for left, *_ in boxes]
        assert lefts == sorted(lefts) and all(width > 0 and tall > 0 for *_, width, tall in boxes)
        assert all(0 <= reading.confidence <= 1 for reading in number.digits)
        assert number.confidence <= min(reading.confidence for reading in number.digits) + 1e-6


def test_many_threads_share_one_sequence_network():
    pictures = [sequence.sequence_input(255 - made(kind)[0]) for kind in ("close", "apart")]
    model = sequence.sequence_model()
    alone = [model.log_probabilities(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model.log_probabilities, pictures * 20))
    for number, found in enumerate(together):
        np.testing.assert_allclose(found, alone[number % 2], atol=1e-5)


def test_a_damaged_sequence_network_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sequence, "PACKAGE_FOLDER", tmp_path)
    sequence.sequence_model.cache_clear()
    try:
        with pytest.raises(ModelCorrupt, match="No such file"):
            sequence.sequence_model()
        (tmp_path / "pretrained_sequence").mkdir()
        (tmp_path / "pretrained_sequence" / "model.tflite").write_bytes(b"nothing")
        with pytest.raises(ModelCorrupt, match="model.tflite"):
            sequence.sequence_model()
    finally:
        sequence.sequence_model.cache_clear()
