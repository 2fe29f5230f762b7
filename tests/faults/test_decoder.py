"""Pictures that are none, that are broken, and that were made to do harm: each is answered or
refused in words, and nothing else happens.
"""

import io
import struct
import subprocess
import zlib
from functools import cache

import numpy as np
import pillow_heif
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageDraw,
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mnist_nb.core import ImageError, ImageTooLarge, ImageUnfit, ImageUnknown
from mnist_nb.model.network import network_input
from mnist_nb.reader import Reader
from mnist_nb.vision.preprocessing import (
    EXTRA_FORMATS,
    PIXELS_LIMIT,
    decode,
    open_image,
    prepare,
)
from tests.serving import watched

USUAL = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
EXTRA = {"TIFF": "tiff", "AVIF": "avif", "HEIF": "heic"}
KINDS = (*USUAL, *EXTRA)
pillow_heif.register_heif_opener(thumbnails=False)
STRANGERS = {
    "html": b"<!doctype html><p>7",
    "pdf": b"%PDF-1.7\n1 0 obj",
    "zip": b"PK\x03\x04" + bytes(100),
    "program": b"MZ" + bytes(200),
    "text": b"a seven",
    "empty": b"",
    "zeros": bytes(1000),
}
BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
SVG = {
    "plain": '<svg xmlns="http://www.w3.org/2000/svg"><text>7</text></svg>',
    "entities": f"{BOMB}<svg>&c;</svg>",
    "script": "<svg><script>alert(1)</script></svg>",
    "outside": '<!DOCTYPE a [<!ENTITY b SYSTEM "http://127.0.0.1:9/">]><svg>&b;</svg>',
}


@cache
def small(kind):
    "A small picture of a seven as a file's bytes."
    picture, content = Image.new("L", (24, 24), 255), io.BytesIO()
    ImageDraw.Draw(picture).line([(5, 5), (18, 5), (9, 19)], fill=0, width=3)
    picture.save(content, kind)
    return content.getvalue()


def chunk(name, content=b""):
    "A chunk of a PNG file."
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width, height, *more, pixels=b"", depth=1):
    "A PNG file with a header of its own, more chunks, and compressed pixels."
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND")
    )


def read_or_refused(content):
    "Whether some bytes are read; anything but an answer or an ImageError is a failure."
    try:
        prepared = prepare(content)
    except ImageError as e:
        assert str(e) and "\n" not in str(e)
        return False
    assert prepared.picture.shape == (28, 28) and prepared.picture.dtype == np.uint8
    return True


def refuse(*args, **options):
    raise AssertionError("a picture must not do that")


@pytest.fixture
def closed(monkeypatch):
    "No network, no other program, and no parser of XML."
    for name in (
        "socket.socket.connect",
        "socket.getaddrinfo",
        "xml.parsers.expat.ParserCreate",
        "xml.etree.ElementTree.XMLParser",
    ):
        monkeypatch.setattr(name, refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.parametrize("name", STRANGERS)
def test_04_no_picture(name):
    said = {"pdf": "a PDF document", "zip": "a ZIP archive", "html": "a web page"}
    with pytest.raises(ImageUnknown, match="expected a PNG, JPEG, GIF, BMP or WebP file") as caught:
        decode(STRANGERS[name])
    assert str(caught.value).startswith(said.get(name, ""))


@pytest.mark.parametrize("name", SVG)
def test_05_svg(closed, name):
    with pytest.raises(ImageUnknown, match="an SVG drawing; expected a PNG"):
        decode(SVG[name].encode())


def other_kinds():
    "Every kind of file that Pillow writes, but for the five that are read everywhere."
    Image.init()
    return sorted(set(Image.SAVE) - {*USUAL, "DIB", "MPO"})


@pytest.mark.parametrize("kind", other_kinds())
def test_06_other_kinds_of_pictures(closed, kind):
    for mode in ("RGB", "L", "1", "P", "F", "RGBA"):
        content = io.BytesIO()
        try:
            Image.new(mode, (24, 24)).save(content, kind)
        except (OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError):
            continue
        with pytest.raises(ImageUnknown):
            open_image(content.getvalue(), ())
        if kind not in EXTRA:
            with pytest.raises(ImageUnknown):
                decode(content.getvalue())
        return
    assert kind in ("BUFR", "GRIB", "HDF5", "WMF", "PALM", "MSP", "SPIDER", "AVIF", "JPEG2000"), (
        f"no mode of {kind} can be written"
    )


@pytest.mark.parametrize("kind", EXTRA)
def test_06_more_kinds_where_they_are_asked_for(kind):
    read = decode(small(kind))
    assert np.abs(read.astype(int) - decode(small("PNG"))).mean() < 4
    others = [name for name in EXTRA_FORMATS if name != EXTRA[kind]]
    for formats in ((), others):
        with pytest.raises(ImageUnknown, match=f"a {EXTRA[kind].upper()} picture is not read here"):
            open_image(small(kind), formats)
    assert open_image(small(kind), [EXTRA[kind]]).size == (24, 24)


def test_06_heic_without_its_package(monkeypatch):
    monkeypatch.setattr("mnist_nb.vision.preprocessing.find_spec", lambda name: None)
    with pytest.raises(ImageUnknown, match=r"pip install 'mnist_nb\[heic\]'.*PNG or JPEG"):
        decode(small("HEIF"))


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
@pytest.mark.parametrize("note", range(1, 9))
def test_16_more_kinds_the_right_way_up(kind, note):
    picture = Image.open(io.BytesIO(small("PNG"))).resize((80, 60))
    read = []
    for each in (kind, "PNG"):
        exif, content = Image.Exif(), io.BytesIO()
        exif[0x0112] = note
        picture.convert("RGB").save(content, each, exif=exif, quality=95)
        read.append(decode(content.getvalue()).astype(int))
    assert read[0].shape == read[1].shape
    assert np.abs(read[0] - read[1]).mean() < 8


@pytest.mark.parametrize("kind", KINDS)
def test_07_cut_at_every_byte(kind):
    whole = small(kind)
    assert read_or_refused(whole)
    assert not all(read_or_refused(whole[:end]) for end in range(len(whole)))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=20
    ),
    st.binary(max_size=40),
)
def test_08_mutated_bytes(kind, changes, tail):
    content = bytearray(small(kind))
    for place, value in changes:
        content[int(place * len(content))] = value
    read_or_refused(bytes(content) + tail)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", *(small(kind)[:n] for kind in KINDS for n in (4, 12, 30))]),
    st.binary(max_size=300),
)
def test_08_random_bytes(head, tail):
    read_or_refused(head + tail)


@pytest.fixture
def undecoded(monkeypatch):
    "No pixel is decoded, and memory stays as it is."
    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    for plugin in (
        WebPImagePlugin.WebPImageFile,
        TiffImagePlugin.TiffImageFile,
        AvifImagePlugin.AvifImageFile,
    ):
        monkeypatch.setattr(plugin, "load", refuse)
    monkeypatch.setattr(pillow_heif.as_plugin.HeifImageFile, "load", refuse)
    with watched() as memory:
        yield
    assert memory.growth < 50e6


@cache
def bomb(side):
    "A PNG of one bit a pixel that is there to the last pixel."
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(side // 8 + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND")


@pytest.mark.parametrize(
    "make",
    [lambda: bomb(12000), lambda: bomb(20000), lambda: png(2**31 - 1, 2**31 - 1)],
    ids=["144 million", "400 million", "more than can be"],
)
def test_09_a_small_file_of_many_pixels(undecoded, make):
    content = make()
    assert len(content) < 60_000
    with pytest.raises(ImageTooLarge, match="million"):
        decode(content)


def claiming(kind, side):
    "A small file of a kind whose header claims to be a square of this side."
    content, pair = bytearray(small(kind)), struct.pack("<HH", side, side)
    if kind == "PNG":
        return png(side, side)
    if kind == "GIF":
        content[6:10] = pair
    if kind == "BMP":
        content[18:26] = struct.pack("<ii", side, side)
    if kind == "JPEG":
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">HH", side, side)
    if kind == "TIFF":
        for tag in (256, 257):
            start = content.index(struct.pack("<HH", tag, 4)) + 8
            content[start : start + 4] = struct.pack("<I", side)
    if kind in ("AVIF", "HEIF"):
        whole = io.BytesIO()
        Image.new("L", (64, 64), 255).save(whole, kind)
        content = bytearray(whole.getvalue())
        start = content.index(b"ispe") + 8
        content[start : start + 8] = struct.pack(">II", side, side)
    if kind == "WEBP":
        two = io.BytesIO()
        Image.new("L", (24, 24), 255).save(
            two, kind, save_all=True, append_images=[Image.new("L", (24, 24))]
        )
        content = bytearray(two.getvalue())
        content[24:30] = (side - 1).to_bytes(3, "little") * 2
    return bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_09_a_header_that_lies(undecoded, kind):
    with pytest.raises(ImageTooLarge, match="million"):
        decode(claiming(kind, 13_000))


@pytest.mark.parametrize("kind", [kind for kind in EXTRA if kind != "TIFF"])
def test_09_pixels_that_lie(kind):
    "A header says less than there is: the decoder stops at its own limit, and memory stays small."
    content = io.BytesIO()
    Image.new("L", (4000, 4000), 255).save(content, kind, quality=20)
    lying = bytearray(content.getvalue())
    start = lying.index(b"ispe") + 8
    lying[start : start + 8] = struct.pack(">II", 100, 100)
    with watched() as memory:
        read_or_refused(bytes(lying))
    assert memory.growth < PIXELS_LIMIT


def test_10_a_tiff_that_points_at_itself():
    content = bytearray(small("TIFF"))
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)
    assert read_or_refused(bytes(content))
    blank = io.BytesIO()
    Image.new("L", (24, 24), 255).save(blank, "TIFF")
    content = bytearray(blank.getvalue())
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)
    assert read_or_refused(bytes(content))


@cache
def swelling():
    "Some hundred thousand bytes that become a hundred million."
    return zlib.compress(bytes(100_000_000))


@pytest.mark.parametrize(
    "make",
    [
        lambda: chunk(b"zTXt", b"a\0\0" + swelling()),
        lambda: chunk(b"iTXt", b"a\0\1\0\0\0" + swelling()),
        lambda: chunk(b"iCCP", b"a\0\0" + swelling()),
        lambda: chunk(b"tEXt", b"a\0b") * 100_000,
    ],
    ids=["zTXt", "iTXt", "iCCP", "many chunks"],
)
def test_10_chunks_that_swell(make):
    content = png(24, 24, make(), pixels=bytes(4 * 24))
    with watched() as memory:
        read_or_refused(content)
    assert memory.growth < 50e6


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.sampled_from([0, 255, 128]), st.booleans())
@example(1, 1, 0, False)
@example(1, 1, 255, True)
@example(2, 2, 255, False)
@example(2, 2, 0, True)
def test_11_any_size(width, height, level, dotted):
    picture = np.full((height, width), level, np.uint8)
    if dotted:
        picture[height // 2, width // 2] ^= 255
    assert prepare(picture).picture.shape == (28, 28)


@pytest.mark.parametrize("size", [(1, 65535), (65535, 1)])
def test_11_a_thread(size):
    thread = Image.new("L", size, 255)
    content = io.BytesIO()
    thread.save(content, "PNG")
    for picture in (thread, np.asarray(thread), content.getvalue()):
        with pytest.raises(ImageUnfit, match="too long and thin"):
            decode(picture)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_12_the_first_frame_counts(kind):
    first, content = Image.open(io.BytesIO(small("PNG"))), io.BytesIO()
    others = [Image.new("L", (24, 24), level) for level in (0, 128)]
    first.save(content, kind, save_all=True, append_images=others, duration=10, lossless=True)
    assert np.abs(decode(content.getvalue()).astype(int) - decode(small("PNG"))).max() < 8


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_12_the_first_frame_with_ink(kind):
    drawn, content = Image.open(io.BytesIO(small("PNG"))), io.BytesIO()
    blank = Image.new("L", (24, 24), 255)
    blank.save(content, kind, save_all=True, append_images=[blank, drawn], duration=10, lossless=1)
    assert np.abs(decode(content.getvalue()).astype(int) - decode(small("PNG"))).max() < 8


def test_12_blank_frames_without_end(monkeypatch):
    "As many blank frames are looked at as a large picture has pixels, and at most a hundred."
    frame = io.BytesIO()
    Image.new("L", (2000, 2000), 255).save(frame, "GIF")
    frame = frame.getvalue()
    start = frame.index(b",", 13)
    content = frame[:-1] + frame[start:-1] * 1000 + b";"
    met, real = [], GifImagePlugin.GifImageFile.seek
    monkeypatch.setattr(
        GifImagePlugin.GifImageFile, "seek", lambda self, n: (met.append(n), real(self, n))[1]
    )
    assert not np.ptp(decode(content))
    assert max(met) * 2000**2 <= PIXELS_LIMIT


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_13_ink_that_differs_by_hue_alone(kind):
    digit = np.asarray(Image.open(io.BytesIO(small("PNG"))).resize((240, 240))) < 128
    content = io.BytesIO()
    for ink, ground in (((200, 0, 0), (0, 102, 0)), ((0, 0, 255), (29, 29, 29))):
        picture = np.where(digit[..., None], ink, ground).astype(np.uint8)
        content = io.BytesIO()
        Image.fromarray(picture).save(content, kind, quality=90)
        reading = Reader.load().read(content.getvalue())
        assert reading.digit == Reader.load().read(255 - 255 * digit.astype(np.uint8)).digit == 7


def test_12_other_frames_are_not_touched(monkeypatch):
    frame = small("GIF")
    start = frame.index(b",", 13)
    content = frame[:-1] + frame[start:-1] * 10_000 + b";"
    met = []
    monkeypatch.setattr(
        GifImagePlugin.GifImageFile,
        "_seek",
        lambda self, frame, *more, seek=GifImagePlugin.GifImageFile._seek: (
            met.append(frame),
            seek(self, frame, *more),
        )[1],
    )
    np.testing.assert_array_equal(decode(content), decode(frame))
    assert set(met) <= {0}


@pytest.mark.parametrize(
    "kind, plugin, method",
    [
        ("PNG", PngImagePlugin.PngImageFile, "_seek"),
        ("WEBP", WebPImagePlugin.WebPImageFile, "_get_next"),
    ],
    ids=["PNG", "WEBP"],
)
def test_12_hundreds_of_frames_cost_one(monkeypatch, kind, plugin, method):
    met, real, content = [], getattr(plugin, method), io.BytesIO()
    monkeypatch.setattr(
        plugin, method, lambda self, *more: (met.append(more), real(self, *more))[1]
    )
    frames = [Image.new("L", (24, 24), level) for level in range(250)] * 4
    frames[0] = Image.open(io.BytesIO(small("PNG")))
    frames[0].save(content, kind, save_all=True, append_images=frames[1:], duration=10)
    assert Image.open(io.BytesIO(content.getvalue())).n_frames > 200
    met.clear()
    assert decode(content.getvalue()).shape == (24, 24) and len(met) <= 1


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda rng: np.full((100, 80), 255, np.uint8), "nothing drawn"),
        (lambda rng: np.full((28, 28), 90, np.uint8), "nothing drawn"),
        (lambda rng: np.zeros((300, 300), np.uint8), "nothing drawn"),
    ],
    ids=["white", "grey", "black"],
)
def test_19_nothing_drawn(make, reason):
    reading = Reader.load().read(make(None))
    assert reading.rejected and reading.digit is None and reading.reason == reason


@pytest.mark.parametrize("seed", range(10))
def test_19_noise_is_never_sure(seed):
    rng = np.random.default_rng(seed)
    for picture in (
        rng.integers(0, 256, (28, 28)).astype(np.uint8),
        rng.integers(0, 256, (200, 200)).astype(np.uint8),
    ):
        reading = Reader.load().read(picture)
        assert reading.rejected or reading.confidence <= 0.9


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((28, 28), np.nan),
        np.full((28, 28), np.inf),
        np.full((28, 28), -0.1),
        np.full((28, 28), 1.1),
        np.full((28, 28), 300),
        np.full((28, 28), -1),
        np.zeros((28, 28), complex),
        np.full((28, 28), "a"),
        np.full((28, 28), None),
        np.zeros(784),
        np.zeros((2, 2, 28, 28)),
        np.zeros((0, 28)),
        np.zeros((28, 28, 2)),
        [[0] * 28] * 28,
        None,
        7,
    ],
    ids=lambda value: (
        f"{type(value).__name__} {getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}"
    ),
)
def test_20_arrays_that_are_no_pictures(wrong):
    with pytest.raises(ValueError, match="image: expected .* got "):
        decode(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((28, 28), np.nan),
        np.full((2, 28, 28), np.inf),
        np.full((28, 28), -0.1),
        np.full((28, 28), 1.1),
        np.full((28, 28), 256),
        np.full((28, 28), -1),
        np.zeros((28, 28), complex),
        np.zeros((28, 28), bool),
        np.full((28, 28), None),
        np.zeros(784),
        np.zeros((28, 28, 3)),
        np.zeros((1, 28, 28, 3)),
        np.zeros((0, 28)),
        [[0] * 28] * 27,
        None,
        7,
    ],
    ids=lambda value: (
        f"{type(value).__name__} {getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}"
    ),
)
def test_20_arrays_that_no_network_takes(wrong):
    with pytest.raises(ValueError, match="images: expected .* got "):
        network_input(wrong)


def test_20_no_picture_gives_no_answer():
    assert Reader.load().probabilities(np.zeros((0, 28, 28, 1), np.uint8)).shape == (0, 10)


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_20_all_forms_of_an_array_are_one(array):
    plain = decode(array)
    locked = array.copy()
    locked.setflags(write=False)
    forms = (
        np.asfortranarray(array),
        locked,
        array[..., None],
        array.astype(np.int64),
        array.astype(np.uint16) * 257,
        array / 255,
        np.repeat(array[..., None], 3, 2),
    )
    for form in forms:
        np.testing.assert_array_equal(decode(form), plain)
