"""Pages have addresses: links, Back and a reload lead where one was, with what one had drawn; and a
stranger's first five minutes.
"""

import re

import pytest
from playwright.sync_api import expect

from mnist_nb.dashboard.app import AREAS
from tests.browser.pen import SEVEN, THREE, draw
from tests.browser.test_dashboard import answer, go, ink, picture, until, until_ink, upload
from tests.serving import Served

PATIENCE = 240_000


def current(page):
    "The page whose link is marked."
    return page.locator("#pages [aria-current=page]")


def keep(page):
    "Wait until the browser keeps the drawing."
    until(page, "() => sessionStorage.getItem('mnist_nb drawing')?.length > 60")


def sheet(page):
    return page.locator(".mnb-draw .mnb-sheet canvas:not(.mnb-ink)")


def test_every_page_has_a_link_in_its_area(page):
    areas = {
        area.locator(".mnb-area-name").inner_text(): [
            link.get_attribute("data-page")
            for link in area.locator("[data-page]").all()
            if link.is_visible()
        ]
        for area in page.locator(".mnb-area").all()
    }
    assert areas == {area: [name.lower() for name in pages] for area, pages in AREAS.items()}
    expect(page.get_by_role("navigation", name="pages")).to_be_visible()


def test_an_address_opens_its_page_and_back_returns(open_page):
    page = open_page("/#evaluation")
    expect(page).to_have_title("Evaluation · mnist_nb")
    expect(page.locator(".mnb-scores")).to_be_visible()
    go(page, "Upload")
    assert page.url.endswith("/#upload")
    expect(page.locator(".mnb-upload")).to_be_visible()
    go(page, "Draw")
    page.go_back()
    expect(page.locator(".mnb-upload")).to_be_visible()
    page.go_back()
    expect(page.locator(".mnb-scores")).to_be_visible()
    page.go_forward()
    expect(page).to_have_title("Upload · mnist_nb")


def test_a_page_that_a_button_turns_to_is_in_the_history(page):
    draw(page, THREE)
    expect(answer(page)).to_have_text("3")
    page.get_by_role("button", name="Why?").click()
    expect(current(page)).to_have_text("Why")
    assert page.url.endswith("#why")
    page.go_back()
    expect(sheet(page)).to_be_visible()
    expect(current(page)).to_have_text("Draw")


def test_a_reload_keeps_page_and_drawing(page):
    draw(page, THREE)
    expect(answer(page)).to_have_text("3")
    go(page, "Why")
    expect(page.locator(".mnb-why h2").first).to_contain_text("Your drawing is read as 3")
    keep(page)
    page.reload()
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    expect(page.locator(".mnb-why h2").first).to_contain_text("Your drawing is read as 3")
    go(page, "Draw")
    expect(answer(page)).to_have_text("3")
    until(page, "() => !document.querySelector('.mnb-writing')")
    assert ink(page) > 1000


def test_a_server_that_starts_again_finds_its_visitors(open_page, home):
    server = Served(warm=0)
    page = open_page(server=server)
    draw(page, SEVEN)
    expect(answer(page)).to_have_text("7")
    keep(page)
    server.stop()
    page.wait_for_selector("html[data-state=failed]", timeout=30_000)
    again = Served(warm=0, port=server.address.port)
    try:
        page.wait_for_selector("html[data-state=ready]", timeout=60_000)
        expect(answer(page)).to_have_text("7")
    finally:
        page.errors.clear()
        again.stop()


def test_the_sheet_is_drawn_on_and_cleared_by_keyboard(page):
    expect(page.get_by_role("application")).to_have_attribute(
        "aria-label", re.compile("arrow keys")
    )
    sheet(page).focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    for key in ["ArrowRight"] * 8 + ["ArrowDown"] * 14:
        page.keyboard.press(key)
    page.keyboard.press("Space")
    expect(answer(page)).to_have_text("7")
    page.keyboard.press("Control+z")
    expect(answer(page)).to_have_text("–")
    page.keyboard.press("Control+y")
    expect(answer(page)).to_have_text("7")
    page.keyboard.press("Escape")
    expect(answer(page)).to_have_text("–")
    page.keyboard.press("Tab")
    expect(sheet(page)).not_to_be_focused()


def test_a_pen_put_down_scrolls_nothing(open_page):
    page = open_page(width=1280, height=600)
    box = sheet(page).bounding_box()
    assert box["y"] + box["height"] <= 600
    expect(page.locator(".mnb-draw .mnb-digit")).to_be_in_viewport()
    page.set_viewport_size({"width": 700, "height": 375})
    draw(page, SEVEN)
    assert page.evaluate("scrollY") == 0
    expect(answer(page)).to_have_text("7")


def test_the_eraser_takes_ink_away(page):
    draw(page, THREE)
    expect(answer(page)).to_have_text("3")
    until(page, "() => !document.querySelector('.mnb-writing')")
    before = ink(page)
    page.get_by_role("button", name="Eraser").click()
    draw(page, [[(220, 140), (300, 60), (420, 90)]])
    until(page, "() => !document.querySelector('.mnb-writing')")
    until_ink(page, f"< {0.9 * before}")
    page.get_by_role("button", name="Undo").click()
    until_ink(page, f"> {0.98 * before}")
    assert ink(page) < 1.02 * before


def test_ink_beyond_the_sheet_does_not_count(page):
    page.evaluate("scrollTo(0, 0)")
    draw(page, [[(320, 60), (320, 470), (320, 560), (640, 560)]])
    expect(answer(page)).to_have_text("1")


def test_an_example_its_code_and_its_picture(page):
    page.get_by_role("button", name="an example: an 8").click()
    expect(answer(page)).to_have_text("8")
    page.get_by_role("button", name="Code").click()
    request = page.locator(".mnb-code pre").first
    expect(request).to_contain_text(f"curl -s {page.evaluate('location.origin')}/api/predict")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "drawing.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("width", [390, 1280])
def test_a_stranger_in_the_first_minutes(open_page, width):
    "See an example, draw, bring pictures, and be told what is wrong with a training's numbers."
    page = open_page(width=width, height=844)
    page.get_by_role("button", name="an example: a 3").click()
    expect(answer(page)).to_have_text("3")
    page.get_by_role("button", name="Clear").click()
    draw(page, SEVEN)
    expect(answer(page)).to_have_text("7")
    go(page, "Upload")
    page.get_by_role("button", name="a house number").click()
    expect(page.locator(".mnb-number")).to_have_text("407")
    upload(page, ("photo.png", "image/png", picture()))
    expect(page.locator(".mnb-picture")).to_have_count(2)
    page.locator(".mnb-picture").first.get_by_role("button", name="Remove").click()
    expect(page.locator(".mnb-picture")).to_have_count(1)
    go(page, "Train")
    page.get_by_role("spinbutton", name="Learning rate").fill("-5")
    page.keyboard.press("Tab")
    expect(page.get_by_text("learning_rate: expected")).to_be_visible(timeout=PATIENCE)
