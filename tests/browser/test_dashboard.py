"""What visitors do on the page, in a browser, on the real server."""

import base64
import io
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from tests.browser.pen import NUMBER, SEVEN, THREE, draw, touch

UPLOAD = ".mnb-upload .mnb-drop"


def go(page, name):
    "Follow the link to a page; on a narrow screen the one to its area stands before it."
    link = page.locator(f"#pages [data-page={name.lower()}]")
    if not link.is_visible():
        link.locator("xpath=ancestor::li[@class='mnb-area']/a").click()
    link.click()
    expect(link).to_have_attribute("aria-current", "page")
    expect(page.locator("html:not([data-turning])")).to_have_count(1, timeout=30_000)


def answer(page):
    return page.locator(".mnb-reading:visible .mnb-digit").first


COUNT_INK = """(() => {
    const canvas = document.querySelector('.mnb-sheet canvas:not(.mnb-ink)')
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    let dark = 0
    for (let i = 0; i < data.length; i += 4) dark += data[i] < 128 && data[i + 3] > 128
    return dark
})()"""


def ink(page):
    "How many pixels of the sheet are dark, as the kernel has drawn them."
    return page.evaluate(COUNT_INK)


def until_ink(page, condition):
    "Wait until the count of dark pixels meets a condition such as `> 100`."
    until(page, f"() => {COUNT_INK} {condition}")


def until(page, script):
    page.wait_for_function(script, timeout=20_000)


@pytest.mark.parametrize("width", [375, 1280])
def test_draw_a_three_with_the_mouse_then_undo_and_clear(open_page, width):
    page = open_page(width=width, height=812)
    expect(page.get_by_text("Nothing drawn")).to_be_visible()
    draw(page, THREE)
    expect(answer(page)).to_have_text("3")
    expect(page.locator(".mnb-bars .best b")).to_have_text("3")
    assert page.locator(".mnb-reading:visible .mnb-bars li").count() == 11
    until(page, "() => !document.querySelector('.mnb-writing')")
    thin = ink(page)
    page.get_by_role("button", name="Thick").click()
    until_ink(page, f"> {1.3 * thin}")
    expect(answer(page)).to_have_text("3")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Nothing drawn")).to_be_visible()
    draw(page, THREE)
    page.get_by_role("button", name="Clear").click()
    expect(answer(page)).to_have_text("–")
    until_ink(page, "=== 0")
    assert page.locator(".mnb-bars .best").count() == 0


def test_the_answer_comes_while_the_pen_is_down(page):
    draw(page, THREE, lift=False)
    expect(answer(page)).to_have_text("3")
    page.mouse.up()


def test_the_pen_sends_few_messages_and_fewer_where_answers_are_slow(page):
    """Moves go out together, every 50 ms at most; after a stroke whose ink came back late, every
    200 ms at most.
    """
    page.evaluate("""() => {
        window.sent = [];
        document.addEventListener(
            'touchmove', () => window.sent.push(performance.now()), true);
    }""")

    def least_pause():
        page.evaluate("() => { window.sent = []; }")
        draw(page, THREE, pause=10, step=8)
        times = page.evaluate("window.sent")
        return min(b - a for a, b in pairwise(times[:-1]))

    assert least_pause() >= 45
    until(page, "() => !document.querySelector('.mnb-writing')")
    page.evaluate("""() => {
        const probe = OffscreenCanvasRenderingContext2D.prototype, real = probe.getImageData;
        const late = performance.now() + 6000;
        probe.getImageData = function (...place) {
            const found = real.apply(this, place);
            if (performance.now() < late) found.data.fill(255);
            return found;
        };
    }""")
    draw(page, [[(100, 100), (100, 300)]])
    page.wait_for_timeout(3000)
    assert least_pause() >= 150


def test_draw_a_seven_with_a_finger(open_page):
    page = open_page(width=375, height=500, has_touch=True, is_mobile=True)
    touch(page, SEVEN, other=(40, 300))
    expect(answer(page)).to_have_text("7")
    assert page.evaluate("scrollY") == 0 and page.locator(".mnb-ink").count() == 1
    until(page, "() => !document.querySelector('.mnb-writing')")
    assert ink(page)


def test_the_keyboard_takes_a_stroke_back(page):
    draw(page, THREE)
    expect(answer(page)).to_have_text("3")
    page.keyboard.press("Control+z")
    expect(answer(page)).to_have_text("–")


def test_links_and_buttons_are_reached_by_keyboard(page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Upload":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    tile = page.locator(".mnb-tile").nth(2)
    tile.wait_for()
    tile.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".mnb-reading:visible .mnb-sure")).to_contain_text(
        re.compile(f"It is an? {tile.inner_text().strip()[0]}")
    )
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_no_digit_is_said_to_be_none(page):
    scribble = [(x, 100 + 280 * (at % 2)) for at, x in enumerate(range(90, 560, 18))]
    draw(page, [scribble], pause=1, step=100)
    expect(page.get_by_text("Not a digit", exact=True)).to_be_visible()


def test_a_number_with_its_parts(page):
    page.get_by_role("button", name="A number").first.click()
    draw(page, NUMBER)
    expect(page.locator(".mnb-number")).to_have_text("712")
    expect(page.locator(".mnb-sheet .mnb-box b")).to_have_text(["7", "1", "2"])


def picture(
    kind="PNG",
    size=(600, 400),
    ground=(190, 186, 178),
    ink=(40, 44, 60),
    noise=4,
    mode="RGB",
    width=22,
):
    "A seven written on a sheet, as the bytes of a file."
    rng = np.random.default_rng(0)
    sheet = Image.new(mode, size, ground)
    ImageDraw.Draw(sheet).line(
        [
            (size[0] * 0.4, size[1] * 0.25),
            (size[0] * 0.6, size[1] * 0.25),
            (size[0] * 0.48, size[1] * 0.8),
        ],
        fill=ink,
        width=width,
        joint="curve",
    )
    if noise:
        sheet = Image.fromarray(
            np.clip(
                np.asarray(sheet) + rng.normal(0, noise, (*size[::-1], len(mode))), 0, 255
            ).astype(np.uint8),
            mode,
        )
    file = io.BytesIO()
    sheet.save(file, kind)
    return file.getvalue()


def upload(page, *files):
    "Choose files, each a name, a type and its bytes."
    with page.expect_file_chooser() as chooser:
        page.locator(UPLOAD).click()
    chooser.value.set_files(
        [{"name": name, "mimeType": kind, "buffer": content} for name, kind, content in files]
    )


def test_uploads_of_all_sorts(page):
    go(page, "Upload")
    clear = picture(mode="RGBA", ground=(0, 0, 0, 0), ink=(0, 0, 0, 255), noise=0)
    upload(
        page,
        ("photo.jpg", "image/jpeg", picture("JPEG")),
        ("clear.png", "image/png", clear),
        ("note.png", "image/png", b"hello"),
        ("huge.bmp", "image/bmp", b"BM" + bytes(12_000_000)),
    )
    cards = page.locator(".mnb-picture")
    expect(cards).to_have_count(2)
    for name in ("photo.jpg", "clear.png"):
        expect(cards.filter(has_text=name).locator(".mnb-digit")).to_have_text("7")
    expect(page.locator(".mnb-original .mnb-box")).to_have_count(2)
    expect(page.locator(".mnb-problem")).to_have_count(2)
    expect(page.get_by_text("note.png: 5 bytes that are no picture")).to_be_visible()
    expect(page.get_by_text(re.compile(r"huge\.bmp: 12\.0 MB are too large"))).to_be_visible()
    cards.first.get_by_role("button", name="Turn right").click()
    expect(cards.first.locator(".mnb-digit")).not_to_have_text("7")
    for _ in range(3):
        cards.first.get_by_role("button", name="Turn right").click()
    expect(cards.first.locator(".mnb-digit")).to_have_text("7")
    page.get_by_role("button", name="Remove all").click()
    expect(cards).to_have_count(0)


def test_a_large_photo_is_reduced_on_its_way(page):
    large = picture(size=(2600, 1900), noise=12, width=90)
    assert len(large) > 10_000_000
    go(page, "Upload")
    upload(page, ("large.png", "image/png", large))
    expect(page.locator(".mnb-picture .mnb-digit")).to_have_text("7", timeout=30_000)


def test_a_picture_that_only_the_browser_reads_is_converted(page):
    go(page, "Upload")
    upload(page, ("photo.avif", "image/avif", picture("AVIF")))
    expect(page.locator(".mnb-picture .mnb-digit")).to_have_text("7", timeout=30_000)


@pytest.mark.parametrize("way, data", [("drop", "dataTransfer"), ("paste", "clipboardData")])
def test_pictures_come_by_drop_and_paste(page, way, data):
    go(page, "Upload")
    page.locator(UPLOAD).wait_for()
    page.evaluate(
        """([way, data, content]) => { const box = new DataTransfer()
        box.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], 'given.png',
            { type: 'image/png' }))
        const event = new Event(way, { bubbles: true, cancelable: true })
        Object.defineProperty(event, data, { value: box })
        document.querySelector('.mnb-upload').dispatchEvent(event) }""",
        [way, data, base64.b64encode(picture()).decode()],
    )
    expect(page.locator(".mnb-picture .mnb-digit")).to_have_text("7")


def test_samples(page):
    go(page, "Samples")
    tiles = page.locator(".mnb-tile:visible")
    expect(tiles).to_have_count(28)
    before = tiles.all_inner_texts()
    page.get_by_role("button", name="28 others").click()
    page.wait_for_function(
        'before => [...document.querySelectorAll(".mnb-tile")].map(tile => tile.innerText).join()'
        " != before.join()",
        arg=before,
    )
    page.get_by_label("Only the wrong ones").check()
    expect(page.locator(".mnb-tile:visible:not(.mnb-wrong)")).to_have_count(0)
    page.locator(".mnb-samples select").select_option("only 4")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.mnb-tile')].every(tile => /^4 → \\d"
        " ✗$/.test(tile.innerText))"
    )
    tiles.first.click()
    expect(page.get_by_text("It is a 4: wrong ✗")).to_be_visible()


def test_evaluation(page):
    go(page, "Evaluation")
    expect(page.locator(".mnb-headline")).to_contain_text("of 10,000 test digits right")
    assert page.locator(".mnb-scores tr").count() == 11
    expect(page.get_by_role("img", name="reliability curve")).to_be_visible()


def test_a_training_seen_from_two_pages_and_stopped_from_one(open_page):
    first, second = open_page("/train"), open_page()
    first.get_by_label("Epochs").fill("1")
    first.get_by_label("Seed").fill("3")
    first.get_by_label("Evaluate on").fill("2000")
    first.get_by_label("Afterwards").select_option("only keep it")
    first.get_by_role("button", name="Start training").click()
    go(second, "Train")
    state = ".mnb-train h2 >> nth=1"
    for page in (first, second):
        expect(page.locator(state)).to_contain_text("quick: epoch 1 of 1", timeout=150_000)
    expect(second.get_by_role("button", name="Start training")).to_have_count(0)
    expect(second.locator("#dashboard .mnb-light")).to_contain_text("training")
    first.reload()
    first.wait_for_selector("html[data-state=ready]")
    expect(first.locator(state)).to_contain_text("quick: epoch 1 of 1")
    expect(first.locator("polyline.mnb-line0").first).to_be_visible()
    second.get_by_role("button", name="Stop and keep").click()
    second.wait_for_timeout(600)
    second.get_by_role("button", name="Stop it for everybody?").click()
    for page in (first, second):
        expect(page.locator(state)).to_contain_text(
            "stopped, its best weights are kept", timeout=150_000
        )
    expect(first.locator("#dashboard .mnb-train")).to_contain_text("the version in use")
    first.get_by_role("button", name="Use it for everybody").click()
    expect(second.locator(".mnb-version option:checked")).to_contain_text(
        re.compile(r"-quick\s\(in\suse\)"), timeout=20_000
    )
    second.get_by_role("button", name="Go back to the version before").click()
    expect(first.locator(".mnb-version option:checked")).to_have_text(
        "pretrained (in use)", timeout=20_000
    )


def test_a_drawing_is_the_visitors_own(open_page):
    one, two = open_page(), open_page()
    draw(one, SEVEN)
    expect(answer(one)).to_have_text("7")
    expect(answer(two)).to_have_text("–")
