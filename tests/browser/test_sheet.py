"""A sheet of numbers from a photo to CSV, by mouse and by keyboard."""

from playwright.sync_api import expect

from mnist_nb.dashboard.sheet_page import SAMPLE_NUMBERS
from tests.browser.test_dashboard import go


def test_the_sample_sheet_is_read_put_right_and_carried_away(page):
    go(page, "Sheet")
    page.get_by_role("button", name="a sample sheet").click()
    cells = page.locator(".mnb-table-cell")
    expect(cells).to_have_count(sum(map(len, SAMPLE_NUMBERS)), timeout=30_000)
    expect(page.locator(".mnb-photo polygon").first).to_be_visible()
    text = page.get_by_label("It says")
    for _ in range(page.locator(".mnb-table-cell.mnb-wrong").count()):
        text.press("Enter")
    expect(page.locator(".mnb-table-cell.mnb-wrong")).to_have_count(0)
    for place, number in enumerate(number for row in SAMPLE_NUMBERS for number in row):
        shown = cells.nth(place).inner_text()
        cells.nth(place).click()
        expect(text).to_have_value(shown)
        text.fill(number)
        expect(cells.nth(place)).to_have_text(number)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert lines == [",".join(row) for row in SAMPLE_NUMBERS]
