"""The page that needs no installation: it answers as the package does, asks nobody, and can be
drawn on with mouse, finger and keys.
"""

import base64
import re

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from click.testing import CliRunner
from playwright.sync_api import expect

from mnist_nb.cli import main
from mnist_nb.data.handwriting import write_strokes
from mnist_nb.reader import Reader
from mnist_nb.vision.preprocessing import candidates
from tests.browser.conftest import ARTIFACTS
from tests.browser.test_accessibility import faults
from tests.serving import patience

WIDTH, HEIGHT = 320, 240
SEVEN = [[(105, 55), (205, 55), (150, 190)]]


@pytest.fixture(scope="module")
def file(tmp_path_factory, module_home):
    "The page of the shipped network, as the command writes it."
    path = tmp_path_factory.mktemp("web") / "page.html"
    done = CliRunner().invoke(main, ["export", "--format", "web", "-o", str(path)])
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def reader(file):
    return Reader.load("pretrained")


@pytest.fixture
def open_file(browser, file, request):
    """Opens the file, offline; in the end it must have logged no error and asked for nothing but
    itself.
    """
    pages = []

    def open_one(width=1280, height=800, **options):
        options |= {"viewport": {"width": width, "height": height}, "offline": True}
        page = browser.new_context(**options).new_page()
        page.errors, page.asked = [], []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on(
            "console",
            lambda message: page.errors.append(message.text) if message.type == "error" else None,
        )
        page.on("request", lambda sent: page.asked.append(sent.url))
        pages.append(page)
        page.goto(file.as_uri())
        return page

    yield open_one
    ARTIFACTS.mkdir(exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", request.node.name)
    for number, page in enumerate(pages):
        page.screenshot(path=ARTIFACTS / f"{name}-{number}.png", full_page=True)
        page.context.close()
    assert not [page.errors for page in pages if page.errors]
    assert all(page.asked == [file.as_uri()] for page in pages)


@pytest.fixture
def page(open_file):
    return open_file()


def digit(page):
    return page.locator("#digit")


def draw(page, strokes, down=None, move=None, up=None):
    "Draw strokes, in the sheet's own units, with the mouse or by other means."
    box = page.locator("#sheet").bounding_box()
    scale = box["width"] / WIDTH
    down = down or (lambda x, y: (page.mouse.move(x, y), page.mouse.down()))
    for stroke in strokes:
        places = [(box["x"] + scale * x, box["y"] + scale * y) for x, y in stroke]
        down(*places[0])
        for start, end in zip(places, places[1:], strict=False):
            for share in np.linspace(0.1, 1, 10):
                at = (1 - share) * np.array(start) + share * np.array(end)
                (move or page.mouse.move)(*at.tolist())
        (up or page.mouse.up)()


def as_bytes(text, *shape):
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


def test_its_answers_are_those_of_litert(page, reader, mnist):
    images = mnist.test_images[:1000]
    text = base64.b64encode(images.tobytes()).decode()
    found = page.evaluate(
        """text => {
            const all = Uint8Array.from(atob(text), letter => letter.charCodeAt(0)), answers = []
            for (let at = 0; at < all.length; at += 784) {
                const picture = all.subarray(at, at + 784)
                answers.push([[...mnist_nb.outputs(picture)], mnist_nb.probabilities(picture)])
            }
            return answers
        }""",
        text,
    )
    outputs, settled = np.moveaxis(np.array(found), 1, 0)
    assert outputs.shape == (1000, 11)
    assert np.abs(outputs - reader.network.outputs(images)).max() < 0.002
    assert np.abs(settled - reader.outputs(images)).max() < 0.002
    assert (np.abs(outputs - settled).max(1) > 0.01).sum() > 10, "few were looked at again"


def drawings(number):
    "Strokes of simulated hands on the sheet, of many sizes, a stray dot beside some of them."
    rng = np.random.default_rng(0)
    for at in range(number):
        strokes = write_strokes("0123456789K☆?"[at % 13], rng)
        points = np.concatenate(strokes)
        low, high = points.min(0), points.max(0)
        size = rng.uniform(40, 200) / (high - low).max()
        place = np.array([WIDTH, HEIGHT]) / 2 + rng.uniform(-15, 15, 2)
        placed = [((stroke - (low + high) / 2) * size + place).tolist() for stroke in strokes]
        yield placed + [[rng.uniform(10, 230, 2).tolist()]] * (at % 5 == 0)


def test_a_drawing_is_framed_and_answered_as_by_the_package(page, reader):
    compared = []
    for strokes in drawings(200):
        ink, picture, found = page.evaluate(
            """strokes => {
                mnist_nb.write(strokes)
                const ink = mnist_nb.ink(), reading = mnist_nb.read(ink)
                const text = bytes => btoa(String.fromCharCode(...bytes))
                const rows = Array.from({length: ink.height}, (_, y) =>
                    ink.data.subarray(y * ink.width, (y + 1) * ink.width))
                return [rows.map(text), text(reading.picture), reading]
            }""",
            strokes,
        )
        drawn = np.concatenate([as_bytes(row, 1, WIDTH) for row in ink])
        (prepared,) = candidates(255 - drawn)
        np.testing.assert_array_equal(as_bytes(picture, 28, 28), prepared.picture)
        reading = reader.read_prepared([prepared])[0]
        assert found["digit"] == reading.digit and found["reason"] == reading.reason
        shares = np.array(found["probabilities"])
        assert abs(shares[reading.probabilities.argmax()] - reading.confidence) < 0.002
        compared.append(reading.digit)
    assert set(range(10)) | {None} == set(compared)


def test_what_is_read_is_what_is_seen(page):
    draw(page, SEVEN)
    expect(digit(page)).to_have_text("7")
    largest, mean = page.evaluate(
        """() => {
            const sheet = document.getElementById('sheet'), {width, height} = sheet
            const seen = sheet.getContext('2d').getImageData(0, 0, width, height).data
            const ink = mnist_nb.ink(), scale = width / ink.width
            const means = new Float64Array(ink.data.length)
            for (let y = 0; y < height; y++) {
                for (let x = 0; x < width; x++) {
                    const at = Math.floor(y / scale) * ink.width + Math.floor(x / scale)
                    means[at] += seen[4 * (y * width + x) + 3] / scale ** 2
                }
            }
            const differences = means.map((value, at) => Math.abs(value - ink.data[at]))
            return [Math.max(...differences), differences.reduce((a, b) => a + b) / means.length]
        }"""
    )
    assert largest < 64 and mean < 0.5


BRIGHTEST = """() => {
    const picture = document.getElementById('seen').getContext('2d').getImageData(0, 0, 28, 28)
    return Math.max(...picture.data.filter((_, at) => at % 4 < 3))
}"""


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_draw_a_seven_with_the_mouse_undo_redo_and_clear(open_file, width):
    page = open_file(width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator("#sure")).to_have_text("Nothing drawn")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    draw(page, SEVEN)
    expect(digit(page)).to_have_text("7")
    expect(page.locator("#bars .best b")).to_have_text("7")
    assert page.locator("#bars li").all_inner_texts()[-1].startswith("no digit")
    assert page.locator("#bars li").count() == 11
    assert page.evaluate(BRIGHTEST) == 255
    page.get_by_role("button", name="Undo").click()
    expect(digit(page)).to_have_text("–")
    assert page.evaluate(BRIGHTEST) == 0
    page.get_by_role("button", name="Redo").click()
    expect(digit(page)).to_have_text("7")
    page.get_by_role("button", name="Clear").click()
    expect(digit(page)).to_have_text("–")
    page.keyboard.press("Control+z")
    expect(digit(page)).to_have_text("7")
    page.keyboard.press("Control+Shift+z")
    expect(digit(page)).to_have_text("–")


def test_a_finger_draws_and_the_page_stays_where_it_is(open_file):
    page = open_file(width=390, height=500, has_touch=True, is_mobile=True)
    page.evaluate("scrollTo(0, 40)")
    session = page.context.new_cdp_session(page)

    def tell(kind, *place):
        points = [{"x": place[0], "y": place[1]}] if place else []
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    draw(
        page,
        SEVEN,
        down=lambda *place: tell("touchStart", *place),
        move=lambda *place: tell("touchMove", *place),
        up=lambda: tell("touchEnd"),
    )
    expect(digit(page)).to_have_text("7")
    assert page.evaluate("scrollY") == 40


def test_keys_alone_draw_a_seven(page):
    page.keyboard.press("Tab")
    expect(page.locator("#sheet")).to_be_focused()
    expect(page.locator("#cursor")).to_be_visible()

    def go(times, *keys):
        for key in keys:
            page.keyboard.down(key)
        for _ in range(times - 1):
            page.keyboard.down(keys[-1])
        for key in keys:
            page.keyboard.up(key)

    go(12, "ArrowUp")
    go(8, "ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator("#pen")).to_contain_text("Pen down")
    go(17, "ArrowRight")
    go(9, "ArrowLeft", "ArrowDown")
    go(12, "ArrowDown")
    page.keyboard.press("Space")
    go(3, "ArrowRight")
    expect(page.locator("#pen")).to_be_empty()
    expect(digit(page)).to_have_text("7")
    assert len(page.evaluate("mnist_nb.strokes()")) == 1
    page.keyboard.press("Delete")
    expect(digit(page)).to_have_text("–")
    page.keyboard.press("Control+z")
    expect(digit(page)).to_have_text("7")


def test_ink_beyond_the_sheet_neither_shows_nor_counts(page):
    draw(page, [[(160, 60), (160, 238)]])
    expect(digit(page)).to_have_text("1")
    straight = page.evaluate("[...mnist_nb.ink().data]")
    page.get_by_role("button", name="Clear").click()
    draw(page, [[(160, 60), (160, 260), (260, 260)]])
    expect(digit(page)).to_have_text("1")
    beyond = page.evaluate("[...mnist_nb.ink().data]")
    assert np.mean(np.abs(np.subtract(straight, beyond)) > 64) < 0.001


def test_examples_are_written_and_read_and_what_is_no_digit_is_refused(open_file):
    page = open_file(reduced_motion="reduce")
    buttons = page.locator("#examples button")
    for name in buttons.all_inner_texts():
        for _ in range(3):
            page.get_by_role("button", name=name, exact=True).click()
            expect(digit(page)).to_have_text(name if name.isdigit() else "?")
    expect(page.locator("#sure")).to_contain_text("Not a digit")
    expect(page.locator("#bars .best b")).to_have_text("no digit")
    page.mouse.move(0, 0)
    draw(page, [[(100, 100), (103, 100)]])
    page.get_by_role("button", name="Clear").click()
    draw(page, [[(100, 100), (103, 100)]])
    expect(page.locator("#sure")).to_have_text("Too small to read")


def test_an_example_is_written_stroke_by_stroke_and_a_pen_stops_it(page):
    page.get_by_role("button", name="8", exact=True).click()
    with patience() as until:
        until(lambda: page.evaluate("mnist_nb.strokes().flat().length") > 3)
    page.mouse.move(300, 300)
    page.mouse.down()
    drawn = page.evaluate("mnist_nb.strokes()")
    page.wait_for_timeout(300)
    assert page.evaluate("mnist_nb.strokes()") == drawn
    page.mouse.up()


def test_its_policy_forbids_requests_scripts_and_styles(open_file, file):
    page = open_file()
    names, mark = page.evaluate(
        """async () => {
            const found = [], note = event => found.push(event.effectiveDirective)
            addEventListener('securitypolicyviolation', note)
            const add = (name, textContent) =>
                document.body.append(Object.assign(document.createElement(name), {textContent}))
            await fetch('https://example.com/').catch(() => 0)
            new Image().src = 'https://example.com/a.png'
            add('script', 'mark = 1')
            add('style', 'p { color: red }')
            await new Promise(done => setTimeout(done, 200))
            return [found, typeof mark]
        }"""
    )
    assert {"connect-src", "img-src", "script-src-elem", "style-src-elem"} <= set(names)
    assert mark == "undefined"
    page.errors.clear()
    page.asked.remove("https://example.com/a.png")
    assert file.stat().st_size < 700_000


@pytest.mark.parametrize("width, color_scheme", [(390, "dark"), (1280, "light")])
def test_it_has_no_serious_fault(open_file, width, color_scheme):
    page = open_file(width=width, color_scheme=color_scheme)
    page.evaluate(AXE_SCRIPT)
    assert not faults(page), "empty"
    draw(page, SEVEN)
    expect(digit(page)).to_have_text("7")
    assert not faults(page), "with a digit"
    box = page.locator("#sheet").bounding_box()
    assert box["y"] + box["height"] < 800
