"""One picture, however it is encoded, is one picture: prepared alike and read alike.

Of a 1-bit picture, which has lost its soft edges, only the answer must be the same.
"""

import io

import numpy as np
import pytest
from PIL import Image

from mnist_nb.analysis.robustness import redraw
from mnist_nb.data.mnist import load_mnist
from mnist_nb.reader import Reader

DIGIT = 4


def encoded(image, kind, **options):
    "The bytes of an image file."
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def with_alpha(ink, level, mode):
    "A digit of one level of grey on a transparent ground."
    grey = Image.fromarray(np.full_like(ink, level))
    alpha = Image.fromarray(ink)
    return Image.merge(mode, [grey] * (len(mode) - 1) + [alpha])


def with_clear_ground(ink, level):
    "A palette picture whose ground is one transparent colour, as old GIFs have it."
    image = Image.fromarray((ink > 127).astype(np.uint8), "P")
    image.putpalette([0, 0, 0] + [level] * 3 + [0] * 762)
    return image


def turned(image, orientation):
    "A JPEG that is stored turned, and says by its EXIF orientation how to turn it back."
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored, exif = image if undo is None else image.transpose(undo), Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, "JPEG", quality=95, exif=exif)


def encodings():
    "Every encoding by its name: bytes of a file, or an array."
    ink = redraw(load_mnist().test_images[DIGIT], 0.5, (0.2, 0.8))
    paper = Image.fromarray(255 - ink)
    wide = (255 - ink).astype(np.uint16) * 257
    rgb = paper.convert("RGB")
    return {
        "grey PNG": encoded(paper, "PNG"),
        "palette PNG": encoded(paper.convert("P"), "PNG"),
        "16-bit PNG": encoded(Image.fromarray(wide), "PNG"),
        "1-bit PNG": encoded(paper.point(lambda level: 255 * (level > 127)).convert("1"), "PNG"),
        "RGB PNG": encoded(rgb, "PNG"),
        "RGBA, dark ink": encoded(with_alpha(ink, 10, "RGBA"), "PNG"),
        "RGBA, light ink": encoded(with_alpha(ink, 245, "RGBA"), "PNG"),
        "LA, dark ink": encoded(with_alpha(ink, 10, "LA"), "PNG"),
        "LA, light ink": encoded(with_alpha(ink, 245, "LA"), "PNG"),
        "CMYK JPEG": encoded(rgb.convert("CMYK"), "JPEG", quality=95),
        "progressive JPEG": encoded(paper, "JPEG", quality=95, progressive=True),
        "palette, dark ink": encoded(with_clear_ground(ink, 10), "PNG", transparency=0),
        "palette, light ink": encoded(with_clear_ground(ink, 245), "GIF", transparency=0),
        "mode I": paper.convert("I"),
        "mode F": paper.convert("F"),
        "16-bit array": wide,
        "colour JPEG": encoded(rgb, "JPEG", quality=95),
        "GIF": encoded(paper, "GIF"),
        "BMP": encoded(paper, "BMP"),
        "WebP": encoded(rgb, "WEBP", lossless=True),
        "light on dark": encoded(Image.fromarray(ink), "PNG"),
        "array": 255 - ink,
        "fractions": (255 - ink) / 255.0,
        "PIL image": paper,
        **{f"EXIF orientation {n}": turned(paper, n) for n in range(1, 9)},
    }


ENCODINGS = encodings()
HARD = "1-bit PNG", "palette, dark ink", "palette, light ink"


@pytest.fixture(scope="module")
def reader():
    return Reader.load()


@pytest.mark.parametrize("name", ENCODINGS)
def test_13_14_15_16_17_one_answer(reader, name):
    plain, found = reader.read(ENCODINGS["grey PNG"]), reader.read(ENCODINGS[name])
    assert plain.digit == found.digit == load_mnist().test_labels[DIGIT]
    if name in HARD:
        return
    np.testing.assert_allclose(found.probabilities, plain.probabilities, atol=1e-2)
    assert np.abs(found.picture.astype(int) - plain.picture).mean() < 4


def test_16_what_the_camera_noted_is_not_told(reader, caplog, capfd):
    "Where a photo was taken stays with the photo."
    exif, picture = Image.Exif(), Image.fromarray(ENCODINGS["array"])
    exif[0x010E] = "a secret note"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0), 3: "E", 4: (16.0, 22.0, 0.0)})
    content = encoded(picture, "JPEG", exif=exif)
    assert b"secret" in content
    answer = reader.read(content)
    assert answer.digit == reader.read(picture).digit
    assert (
        b"secret"
        not in repr(answer).encode()
        + answer._repr_html_().encode()
        + repr(answer.as_dict()).encode()
    )
    assert not caplog.text and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_17_dark_on_light_and_light_on_dark(reader, first):
    inks = [redraw(image, 0.6) for image in load_mnist().test_images[first : first + 10]]
    dark, light = reader.read_many([255 - ink for ink in inks]), reader.read_many(inks)
    assert [reading.digit for reading in dark] == [reading.digit for reading in light]
