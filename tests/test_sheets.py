"""Photos of sheets, made in code, and what is read in them."""

import csv
import io
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from mnist_nb.analysis.form_round import fill_form
from mnist_nb.cli import main
from mnist_nb.core import MnistNbError
from mnist_nb.dashboard.sheet_page import cell_picture
from mnist_nb.data.mnist import load_mnist
from mnist_nb.reader import Reader
from mnist_nb.vision.forms import Form
from mnist_nb.vision.sheets import GridMissing, find_grids, simulate_photo

SOLVED = [[str((3 * i + i // 3 + j) % 9 + 1) for j in range(9)] for i in range(9)]
SQUARE = [row[:5] for row in SOLVED[:5]]
NUMBERS = [["1024", "7", "36"], ["58", "903", ""], ["6471", "2", "85"], ["319", "40", "5"]]
SCORES = [["25", "7", "140"], ["3", "", "88"], ["61", "9", "306"], ["", "4", "5"]]


@pytest.fixture(scope="module")
def reader():
    return Reader.load()


@pytest.fixture(scope="module")
def written(reader):
    "Test digits that are read rightly by themselves, so that what is tested is the sheet."
    mnist = load_mnist()
    images, labels = mnist.test_images[:1500], mnist.test_labels[:1500]
    chances = reader.probabilities(images)
    clear = (chances.argmax(1) == labels) & (chances.max(1) > 0.99)
    of_digit = [np.flatnonzero(clear & (labels == digit)) for digit in range(10)]
    return lambda digit, rng: images[rng.choice(of_digit[digit])]


def share_right(sheet, table):
    return float(np.mean(np.array(sheet.rows) == np.array(table)))


@pytest.mark.parametrize("turn", range(4))
def test_a_square_grid_at_four_turns(reader, written, turn):
    photo = simulate_photo(SQUARE, written, seed=5, size=(500, 500), turn=4)
    sheet = reader.read_sheet(np.ascontiguousarray(np.rot90(photo, turn)))
    assert share_right(sheet, SQUARE) >= 0.96
    x, y = np.mean(sheet.cells[0].box, axis=0)
    upright = find_grids(photo)[0].box(0, 0)
    for _ in range(turn):
        x, y = photo.shape[0] - 1 - y, x
    assert np.abs(np.mean(upright, axis=0) - (x, y)).max() < 6


@pytest.mark.parametrize("bend", [0.0, 0.05])
def test_a_table_of_numbers(reader, written, bend):
    photo = simulate_photo(SCORES, written, cell=(130, 64), size=(1100, 800), turn=-6, bend=bend)
    sheet = reader.read_sheet(photo)
    assert share_right(sheet, SCORES) >= 0.9
    assert sheet.rows[1][1] == sheet.rows[3][0] == ""


@pytest.mark.parametrize("turn", range(4))
def test_numbers_of_several_digits_at_four_turns(reader, written, turn):
    photo = simulate_photo(NUMBERS, written, 1, cell=(150, 64), size=(700, 450))
    sheet = reader.read_sheet(np.ascontiguousarray(np.rot90(photo, turn)))
    assert share_right(sheet, NUMBERS) >= 0.9


def test_blank_sheets_stay_blank(reader, written):
    blank = [[""] * 5] * 6
    for seed in range(3):
        photo = simulate_photo(blank, written, seed=seed, noise=6, shadow=0.5)
        sheet = reader.read_sheet(photo)
        assert sheet.rows == blank and not sheet.unsure


def test_a_sudoku_of_twelve_megapixels(reader, written):
    small = simulate_photo(SOLVED, written, seed=5, size=(1000, 750))
    large = cv2.resize(small, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    sheet = reader.read_sheet(large)
    assert share_right(sheet, SOLVED) >= 0.97
    middle = np.mean([cell.box for cell in sheet.cells], axis=(0, 1))
    assert np.abs(middle / 4 - find_grids(small)[0].crossings.mean((0, 1))).max() < 3


def test_without_lines(reader, written):
    photo = simulate_photo(
        [["12", "7"], ["6", "88"], ["31", "5"]],
        written,
        cell=(160, 80),
        size=(700, 560),
        ruled=False,
        turn=2,
        tilt=0,
        bend=0,
        shadow=0,
    )
    sheet = reader.read_sheet(photo)
    assert (len(sheet.rows), len(sheet.rows[0])) == (3, 2) and sheet.notes


def test_several_tables(reader, written):
    one = simulate_photo([["1", "2"], ["3", "4"]], written, seed=1, turn=0, tilt=0, bend=0)
    two = simulate_photo(SCORES[:2], written, 2, cell=(130, 64), turn=0, tilt=0, bend=0)
    both = np.hstack([one, cv2.resize(two, (800, 1000))])
    grids = find_grids(both)
    assert len(grids) == 2 and grids[0].area > grids[1].area
    sizes = {len(reader.read_sheet(both, grid=k).cells) for k in (0, 1)}
    assert sizes == {4, 6}
    with pytest.raises(GridMissing, match="has 2"):
        reader.read_sheet(both, grid=2)


@pytest.mark.parametrize(
    "photo", [np.full((300, 400), 230, np.uint8), np.zeros((60, 60), np.uint8)]
)
def test_no_table_is_a_clear_error(reader, photo):
    with pytest.raises(GridMissing, match="no table in the picture") as caught:
        reader.read_sheet(photo, rows=9)
    assert isinstance(caught.value, MnistNbError) and "9 rows and any number of columns" in str(
        caught.value
    )


def test_unreadable_ink_is_said(reader, written):
    rng = np.random.default_rng(0)
    scribble = np.zeros((28, 28), np.uint8)
    cv2.polylines(scribble, [rng.integers(4, 24, (24, 1, 2)).astype(np.int32)], False, 255, 2)
    photo = simulate_photo(
        [["0", "1"], ["2", "3"]], lambda digit, r: scribble if digit == 2 else written(digit, r)
    )
    sheet = reader.read_sheet(photo)
    assert sheet.rows[1][0] and sheet.cells[2] in sheet.unsure


def test_command_line(reader, written, tmp_path):
    path = tmp_path / "table.png"
    photo = simulate_photo(SCORES, written, cell=(130, 64), size=(1000, 700))
    cv2.imwrite(str(path), photo)
    expected = reader.read_sheet(photo)
    (tmp_path / "broken.png").write_text("no picture")
    run = CliRunner().invoke
    told = run(main, ["predict", "--sheet", "--csv", str(path)])
    rows = list(csv.reader(io.StringIO(told.stdout)))
    assert told.exit_code == 0 and [row[1:] for row in rows] == expected.rows
    told = run(main, ["predict", "--sheet", "--json", str(path)])
    assert json.loads(told.stdout)["rows"] == expected.rows
    told = run(main, ["predict", "--sheet", str(tmp_path)])
    assert told.exit_code == 5 and "broken.png" in told.stderr and "table.png" in told.stdout
    assert run(main, ["predict", "--sheet", "--number", str(path)]).exit_code == 2
    assert run(main, ["predict", "--columns", "id:8", str(path)]).exit_code == 2


def test_a_form_is_read_as_a_form(reader, tmp_path):
    form = Form("id:4,score:2", 6)
    rows = [["3141", "7"], ["2718", "15"], *[["", ""]] * 4]
    photo = fill_form(form, rows, np.random.default_rng(4))
    sheet = reader.read_sheet(photo)
    assert sheet.columns == ("id", "score") and sheet.rows == rows
    path, roster = tmp_path / "form.png", tmp_path / "roster.csv"
    cv2.imwrite(str(path), photo)
    roster.write_text("id\n3141\n2719\n")
    told = CliRunner().invoke(main, ["predict", "--sheet", "--csv", str(path)]).stdout
    assert list(csv.reader(io.StringIO(told)))[0] == ["image", "id", "score"]
    columns = ["--columns", f"id:4={roster},score:2"]
    told = CliRunner().invoke(main, ["predict", "--sheet", "--json", *columns, str(path)]).stdout
    assert [1, 0] in json.loads(told)["unsure"] and not sheet.unsure  # not on the roster
    assert cell_picture(sheet, 1, 0).std() > 3 * cell_picture(sheet, 3, 0).std()
