"""Pictures of every size end in an answer or a refusal, and pages of numbers are read in order."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_nb.data.mnist import load_mnist
from mnist_nb.reader import Reader


@pytest.fixture(scope="module")
def reader():
    return Reader.load()


@pytest.fixture(scope="module")
def digits():
    mnist = load_mnist()
    return mnist.train_images[-10000:], mnist.train_labels[-10000:]


def drawing(shape, canvas, height, pen, light):
    "A line, a dot, a cross or a frame of a pen on a square canvas."
    page = np.zeros((canvas, canvas), np.uint8)
    low, high = (canvas - min(height, canvas)) // 2, (canvas + min(height, canvas)) // 2 - 1
    middle = canvas // 2
    ends = {
        "upright": [((middle, low), (middle, high))],
        "level": [((low, middle), (high, middle))],
        "slanted": [((low, low), (high, high))],
        "cross": [((middle, low), (middle, high)), ((low, middle), (high, middle))],
        "dot": [((middle, middle), (middle, middle))],
    }
    if shape == "frame":
        cv2.rectangle(page, (low, low), (high, high), 255, pen)
    for start, end in ends.get(shape, []):
        cv2.line(page, start, end, 255, pen)
    return page if light else 255 - page


SHAPES = "upright", "level", "slanted", "cross", "dot", "frame"


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.sampled_from(SHAPES),
    st.integers(28, 1000),
    st.integers(20, 400),
    st.integers(1, 40),
    st.booleans(),
)
def test_a_plain_drawing_of_any_size_is_answered(shape, canvas, height, pen, light):
    reader = Reader.load()
    picture = drawing(shape, canvas, height, pen, light)
    assert reader.read(picture).probabilities.sum() == pytest.approx(1, abs=1e-4)
    assert set(reader.read_number(picture)) <= set("0123456789?")


@pytest.mark.parametrize("height", range(60, 240, 9))
def test_an_upright_line_of_a_pixel_is_a_one(reader, height):
    page = np.full((height + 120, height + 120), 255, np.uint8)
    page[60 : 60 + height, height // 2] = 0
    assert reader.read(page).digit == 1


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**31))
def test_noise_of_any_shape_is_answered(height, width, seed):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width)).astype(np.uint8)
    assert Reader.load().read(picture).probabilities.shape == (10,)
    assert isinstance(Reader.load().read_number(picture), str)


def page_of(images, shape, size, rows=1, slope=0.0):
    "Rows of digits on lit paper, turned by some degrees against the clock."
    height, width = shape
    side, ink = int(1.4 * size), np.zeros(shape, np.float32)
    columns = len(images) // rows
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        x = int(width / 2 + (column - (columns - 1) / 2) * size * 1.15 - side / 2)
        y = int(height / 2 + (row - (rows - 1) / 2) * size * 1.6 - side / 2)
        digit = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 255) / 255
        window = ink[y : y + side, x : x + side]
        np.maximum(window, digit, out=window)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), slope, 1)
    ink = cv2.warpAffine(ink, turn, (width, height))
    light = 190 + 25 * np.linspace(0, 1, width)
    noise = np.random.default_rng(0).normal(0, 2.5, shape)
    return np.clip(light * (1 - 0.7 * ink) + noise, 0, 255).astype(np.uint8)


def share_right(reader, digits, make, count, tries=10):
    "The share of pages whose number is read wholly right."
    images, labels = digits
    rng, right = np.random.default_rng(1), 0
    for _ in range(tries):
        chosen = rng.integers(0, len(images), count)
        right += reader.read_number(make(images[chosen])) == "".join(map(str, labels[chosen]))
    return right / tries


@pytest.mark.parametrize("slope", [-8, -4, 4, 8])
def test_rows_that_climb_are_read_in_order(reader, digits, slope):
    assert (
        share_right(reader, digits, lambda some: page_of(some, (1200, 900), 60, 2, slope), 12)
        >= 0.8
    )


@pytest.mark.parametrize("side", ["bottom", "right"])
def test_a_dark_strip_along_the_rim_hides_no_number(reader, digits, side):
    def with_strip(some):
        page = page_of(some, (1200, 900), 80)
        page[(slice(-60, None), slice(None)) if side == "bottom" else np.s_[:, -50:]] = 30
        return page

    assert share_right(reader, digits, with_strip, 5) >= 0.8


@pytest.mark.parametrize("length", [200, 500, 900, 1040])
@pytest.mark.parametrize("thick", [1, 3, 10])
def test_a_number_over_a_rule(reader, digits, thick, length):
    def over_a_rule(some):
        page = page_of(some, (400, 1100), 60)
        page[270 : 270 + thick, 550 - length // 2 : 550 + length // 2] = 70
        return page

    assert share_right(reader, digits, over_a_rule, 5) >= 0.8


def test_a_low_wide_picture_is_one_row(reader, digits):
    assert share_right(reader, digits, lambda some: page_of(some, (200, 1280), 80), 4) >= 0.8


def test_a_scanned_page_with_small_digits(reader, digits):
    assert share_right(reader, digits, lambda some: page_of(some, (1754, 1240), 20), 5) >= 0.8
