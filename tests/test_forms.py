"""Forms of our own: printed, filled in, photographed and read, and what may be wrong with them."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mnist_nb import cli
from mnist_nb.analysis.form_round import fill_form, phone_photo
from mnist_nb.core import ImageError
from mnist_nb.data.mnist import split
from mnist_nb.data.non_digits import scribble
from mnist_nb.reader import Reader
from mnist_nb.vision.forms import (
    Form,
    FormColumn,
    find_form,
    form_picture,
    join_pages,
    read_form,
    write_form,
)

WRITTEN = [["30415926", "7"], ["", ""], ["11235813", "210"], ["27182818", "15"]]


@pytest.fixture(scope="module")
def reader():
    return Reader.load()


def page_of(form, written, seed=0, page=1, samples=None):
    "A page whose first rows are filled in."
    blank = [""] * len(form.columns)
    rows = [*written, *[blank] * (len(form.rows_on(page)) - len(written))]
    return fill_form(form, rows, np.random.default_rng(seed), page, samples)


@pytest.fixture(scope="module")
def page():
    return page_of(Form("id:8,score:3"), WRITTEN, seed=4)


@pytest.mark.parametrize("paper", ["a4", "letter"])
@pytest.mark.parametrize("turn", range(4))
def test_a_scan_at_any_turn(reader, paper, turn):
    form = Form("id:8,score:3", 12, paper)
    sheet = read_form(reader, np.rot90(page_of(form, WRITTEN, seed=4), turn))
    assert sheet.rows == [*WRITTEN, *[["", ""]] * 8]


def test_photos_of_digits_that_people_wrote(reader, mnist):
    held_out = split(mnist.train_images, mnist.train_labels)[1]
    form, right, seen = Form("id:8,score:3", 10), 0, 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rows = [[f"{rng.integers(10**8):08d}", f"{rng.integers(1000)}"] for _ in range(10)]
        picture = page_of(form, rows, seed, samples=held_out)
        sheet = read_form(reader, phone_photo(picture, rng))
        for cell, text in zip(sheet.cells, [text for row in rows for text in row], strict=True):
            right += cell.text == text
            seen += cell.text == text or not cell.sure
    assert right >= 72 and seen >= 79


def test_a_form_without_ink_has_none(reader):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        sheet = read_form(reader, phone_photo(page_of(Form("id:8,score:3"), []), rng))
        assert {cell.text for cell in sheet.cells} == {""} and not sheet.unsure


def test_a_dark_pencil_and_a_pale_one(reader, page):
    for strength in (1.0, 0.4):
        pale = (255 - strength * (255.0 - page)).astype(np.uint8)
        pale[:420] = page[:420]
        pale[-260:] = page[-260:]
        assert read_form(reader, pale).rows[:4] == WRITTEN


def test_three_markers_are_enough(reader, page):
    for rows, columns in ((np.s_[:220], np.s_[:220]), (np.s_[-220:], np.s_[-220:])):
        covered = page.copy()
        covered[rows, columns] = 200
        photo = phone_photo(covered, np.random.default_rng(1))
        assert read_form(reader, photo).rows[:4] == WRITTEN


def test_a_blot_and_a_scribble_are_told(reader):
    form = Form("id:5", 12)
    rng, picture = np.random.default_rng(2), page_of(form, [["12345"]] * 12, seed=1)
    for number, row in enumerate(form.boxes(1)):
        left, top, width, height = (row[number % 5] * 10).astype(int)
        picture[top + 4 : top + height - 4, left + 4 : left + width - 4] = 255
        ink = cv2.resize(scribble(rng), (60, 70)) if number % 2 else np.zeros((70, 60), np.uint8)
        if not number % 2:
            cv2.ellipse(ink, (30, 35), (17, 24), 20, 0, 360, 255, -1)
        picture[top + 10 : top + 80, left + 8 : left + 68] = 255 - 0.8 * ink
    sheet = read_form(reader, picture)
    assert not any(cell.sure for cell in sheet.cells)
    assert all(len(cell.text) == 5 for cell in sheet.cells)
    assert sum(c.text[n % 5] == "?" for n, c in enumerate(sheet.cells)) >= 9


def test_ink_of_a_neighbour_stays_there(reader):
    form = Form("id:3", 6)
    picture = page_of(form, [])
    for row in form.boxes(1):
        left, top, width, height = row[1]
        start = np.array([left + 1.5, top + height / 2]) * 10
        strokes = [[(0, -20), (50, -20)], [(50, -20), (20, 25)]]
        for stroke in strokes:
            points = (start + stroke + [12, 0]).astype(np.int32)
            cv2.polylines(picture, [points], False, 30, 5, cv2.LINE_AA)
    sheet = read_form(reader, picture)
    assert [cell.text for cell in sheet.cells] == ["7"] * 6


def test_writing_beside_a_box_is_told(reader):
    form = Form("id:3,score:2", 6)
    picture = page_of(form, [["123", "45"]] * 6, seed=5)
    left = form.boxes(1)[2, 2, 0] + form.boxes(1)[2, 2, 2]
    top = form.boxes(1)[2, 2, 1]
    points = ((left + 3) * 10, top * 10 + 15), ((left + 3) * 10, top * 10 + 70)
    cv2.line(picture, *[tuple(map(int, point)) for point in points], 30, 5, cv2.LINE_AA)
    told = [cell.reason for cell in read_form(reader, picture).cells if cell.reason]
    assert told == ["writing outside the boxes"]


def test_what_is_known_of_a_column(reader, page):
    roster = ("30415926", "11235813", "27182819")
    known = FormColumn("id", 8, choices=roster), FormColumn("score", 3, maximum=25)
    sheet = reader.read_form(page, known)
    assert [row[0] for row in sheet.rows[:3]] == ["30415926", "", "11235813"]
    wrong = {(cell.row, cell.column): cell.reason for cell in sheet.unsure}
    assert wrong[2, 1] == "210 read, expected at most 25"
    assert "one of 3 permitted numbers" in wrong[3, 0]


def test_bounds_are_in_the_code(reader):
    form = Form("score:2<=25", 8)
    picture = page_of(form, [["7"], ["98"]], seed=3)
    sheet = read_form(reader, picture)
    assert find_form(picture).form == form
    assert [cell.text for cell in sheet.unsure] == ["98"]


def test_pages_of_one_form(reader, tmp_path):
    form = write_form(tmp_path / "sheet.pdf", "id:4", rows=30)
    sheets = [read_form(reader, page_of(form, [[f"000{page}"]], page, page)) for page in (2, 1)]
    joined = join_pages(sheets)
    assert [n for n, row in enumerate(joined.rows) if row[0]] == [0, form.rows_per_page]
    assert joined.to_csv().splitlines()[:2] == ["id", "0001"] and len(joined.rows) == 30
    for some, words in (
        ([sheets[0]] * 2, "page 2 is there twice"),
        (sheets[:1], "page 1 of 2 missing"),
    ):
        with pytest.raises(ImageError, match=words):
            join_pages(some)


def spoilt(name, page):
    "A page that cannot be read, for one of several reasons."
    if name == "no form":
        return np.full((800, 600), 230, np.uint8)
    if name == "cut off":
        return page[: len(page) // 2]
    if name == "covered code":
        page = page.copy()
        page[90:330, 1400:1800] = 255
        return page
    if name == "far away":
        return cv2.resize(page, None, fx=0.16, fy=0.16, interpolation=cv2.INTER_AREA)
    if name == "two forms":
        return np.hstack([page, page])
    raise ValueError(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no form", "no form was found"),
        ("cut off", "cut off or covered"),
        ("covered code", "cannot be read"),
        ("far away", "come closer"),
        ("two forms", "one page at a time"),
    ],
)
def test_58_what_cannot_be_read_is_said(reader, page, name, words):
    with pytest.raises(ImageError, match=words) as caught:
        read_form(reader, spoilt(name, page))
    assert "\n" not in str(caught.value)


def test_58_a_layout_of_another_version(reader, monkeypatch):
    from mnist_nb.vision import forms

    monkeypatch.setattr(forms, "FORMAT_VERSION", 2)
    picture = form_picture(Form("id:8"))
    monkeypatch.undo()
    with pytest.raises(ImageError, match="unknown layout"):
        read_form(reader, picture)


def test_a_code_opens_no_file(tmp_path):
    (tmp_path / "roster.csv").write_text("12345\n")
    with pytest.raises(ImageError):
        Form.from_code(f"mnist_nb form 1 a4 20 1/1 id:5={tmp_path}/roster.csv")


def test_the_command(tmp_path):
    def run(*arguments):
        words = ["sheet", "new", *map(str, arguments)]
        return CliRunner().invoke(cli.main, words)

    path = tmp_path / "sheet.pdf"
    answer = run("--columns", "id:8,score:2<=25", "--rows", 50, "-o", path, "--json")
    assert json.loads(answer.stdout) == {
        "path": str(path),
        "columns": ["id", "score"],
        "rows": 50,
        "pages": 3,
    }
    assert path.read_bytes().startswith(b"%PDF")
    for words in (("id",), ("id:8", "--paper", "a5"), ("id:8=missing.csv",), ("id:8,id:8",)):
        result = run("--columns", *words, "-o", tmp_path / "none.pdf")
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "none.pdf").exists()


def test_making_and_finding_forms_needs_no_tensorflow():
    code = (
        "import sys; from mnist_nb.vision.forms import Form, find_form, form_picture;"
        "find_form(form_picture(Form('id:8')));"
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_what_is_known_of_a_number(reader, mnist):
    def drawn(digits):
        pictures = [mnist.test_images[np.flatnonzero(mnist.test_labels == d)[0]] for d in digits]
        return 255 - np.pad(np.hstack([np.pad(p, ((0, 0), (0, 4))) for p in pictures]), 20)

    picture = drawn([7, 2, 1, 0])
    plain = reader.read_number(picture)
    assert plain == "7210" and plain.reason == ""
    fitted = reader.read_number(picture, choices=["7210", "7211", "0210"])
    assert fitted == "7210" and fitted.confidence >= plain.confidence and not fitted.reason
    far = reader.read_number(picture, maximum=999)
    assert far.confidence < 0.9 and far.reason == "7210 read, expected at most 999"
    assert len(far) == len(far.digits)
    with pytest.raises(ValueError, match="minimum"):
        reader.read_number(picture, minimum=10, maximum=9)
