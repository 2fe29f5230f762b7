"""All of each page comes, fits the screen, and has no fault that axe-core calls serious, whatever
the colours and the width.
"""

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

from mnist_nb.dashboard.app import PAGES
from tests.browser.pen import THREE, draw
from tests.browser.test_dashboard import answer, go

PATIENCE = 240_000
CONTENT = "img, svg, table, canvas, .mnb-steps, .mnb-invite, .mnb-example"


def faults(page):
    "What axe-core finds on the page as it is: rule, impact and the first place."
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    assert found["passes"], "axe-core has looked at nothing"
    return [
        (fault["id"], fault["impact"], fault["nodes"][0]["html"])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def cropped_fields(page):
    "The forms and labels that are wider than their place."
    return page.evaluate("""() =>
        [...document.querySelectorAll('.mnb-fields, .mnb-fields label')]
            .filter(each => each.scrollWidth > each.clientWidth)
            .map(each => each.textContent)
    """)


def height(page):
    return page.evaluate("document.documentElement.scrollHeight")


WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 375, "height": 812}
LOOKS = [(WIDE, "light"), (NARROW, "dark")]
FITTING = set(PAGES) - {"Why", "Train"}  # on a screen of 1280 by 800, without scrolling


def check_looks(page, name):
    "Each look of a page fits and has no fault; reduced motion: no colour is halfway to another."
    for viewport, color_scheme in LOOKS:
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=color_scheme, reduced_motion="reduce")
        page.wait_for_timeout(300)
        look = f"{name}, {viewport['width']} px, {color_scheme}"
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], look
        assert not cropped_fields(page), look
        assert viewport is NARROW or name not in FITTING or height(page) <= 800, look
        assert not faults(page), look


def test_every_page_comes_fits_and_has_no_serious_fault(open_page):
    page = open_page(width=375, color_scheme="dark")
    page.evaluate(AXE_SCRIPT)
    draw(page, THREE, pause=1)
    expect(answer(page)).to_have_text("3")
    page.locator(".mnb-correct:visible").get_by_role("button", name="5", exact=True).click()
    for name in PAGES:
        go(page, name)
        shown = page.locator(f".mnb-body :is({CONTENT})").locator("visible=true")
        expect(shown.first).to_be_visible(timeout=PATIENCE)
        expect(page.locator(".mnb-busy:visible, .mnb-waiting:visible")).to_have_count(
            0, timeout=PATIENCE
        )
        check_looks(page, name)
    go(page, "Mistakes")
    page.get_by_role("button", name="PCA map").click()
    page.locator(".mnb-map:visible svg").wait_for(timeout=PATIENCE)
    check_looks(page, "the map")


def test_a_fault_would_be_found(page):
    page.evaluate(AXE_SCRIPT)
    page.evaluate(
        "() => document.querySelector('.mnb-header').insertAdjacentHTML('beforeend', '<img"
        ' src="data:,">\')'
    )
    assert [rule for rule, _, _ in faults(page)] == ["image-alt"]
