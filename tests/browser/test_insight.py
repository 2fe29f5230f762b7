"""What visitors do to understand the network: look at its mistakes, ask why, spoil digits, compare
versions, and play, in a browser, on the real server.
"""

import json
import re
import shutil

import numpy as np
import pytest
from playwright.sync_api import expect

from mnist_nb.model.registry import ModelRegistry
from mnist_nb.reader import Reader
from mnist_nb.vision.preprocessing import png_data_url
from tests.browser.pen import THREE, draw
from tests.browser.test_dashboard import answer, go, picture, upload
from tests.serving import Served, at_home

OTHER, PATIENCE = "20260101-000000-other", 240_000
MISTAKES = json.loads((ModelRegistry().pretrained / "report.json").read_text())["test"]["mistakes"]
MEANT = 0


@pytest.fixture(scope="module")
def own(tmp_path_factory, data_file):
    """A server with a home of its own, and in it a second version: the same network, less sure,
    whose report says that it reads one digit more and another less.
    """
    home = tmp_path_factory.mktemp("home")
    other = home / "models" / OTHER
    shutil.copytree(ModelRegistry().pretrained, other)
    (other / "reading.json").write_text(json.dumps({"temperature": 4, "refuse_above": 1}))
    report = json.loads((other / "report.json").read_text())
    report["test"]["mistakes"] = MISTAKES[1:] + [
        {"index": MEANT, "label": 7, "digit": 1, "confidence": 0.5}
    ]
    (other / "report.json").write_text(json.dumps(report))
    with at_home(home, data_file):
        server = Served()
    server.home = home
    yield server
    server.stop()


@pytest.fixture
def page(open_page, own):
    return open_page(server=own)


def tiles(page):
    return page.locator(".mnb-tile:visible")


def shown(page):
    "The pictures of the tiles that are shown."
    return page.evaluate(
        """() => [...document.querySelectorAll('.mnb-tile')].filter(tile => tile.offsetParent)
        .map(tile => getComputedStyle(tile, '::before').backgroundImage.slice(5, -2))"""
    )


def pictures_of(mnist, mistakes):
    return [png_data_url(mnist.test_images[mistake["index"]]) for mistake in mistakes]


def surest_first(mnist, mistakes):
    "Mistakes by the probability that the page shows, which counts that it may be no digit at all."
    images = np.array([mnist.test_images[mistake["index"]] for mistake in mistakes])
    outputs = Reader.load("pretrained").outputs(images)
    shares = [row[mistake["digit"]] for row, mistake in zip(outputs, mistakes, strict=True)]
    return [mistakes[at] for at in np.argsort(shares)[::-1]]


def cell(page, label, digit):
    return page.locator(".mnb-cell").nth(10 * label + digit)


def mistakes_page(page):
    go(page, "Mistakes")
    expect(page.get_by_text(f"All mistakes: {len(MISTAKES)} digits")).to_be_visible(timeout=30_000)


def test_a_cell_shows_exactly_its_digits_the_surest_first(page, mnist):
    mistakes_page(page)
    pairs = {(mistake["label"], mistake["digit"]) for mistake in MISTAKES}
    assert page.locator(".mnb-cell:enabled").count() == 10 + len(pairs)
    for label, digit in sorted(pairs)[:5]:
        behind = [
            mistake
            for mistake in MISTAKES
            if (mistake["label"], mistake["digit"]) == (label, digit)
        ]
        expect(cell(page, label, digit)).to_have_text(str(len(behind)))
        cell(page, label, digit).click()
        expect(tiles(page)).to_have_text([f"{label} → {digit} ✗"] * len(behind))
        expect(
            page.get_by_role("heading", name=f"{label} read as {digit}: {len(behind)} digit")
        ).to_be_visible()
        assert shown(page) == pictures_of(mnist, surest_first(mnist, behind))


def test_the_table_is_walked_through_by_keyboard(page):
    mistakes_page(page)
    cell(page, 0, 0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    (row,) = [row for row in range(1, 10) if page.locator(".mnb-cell").nth(10 * row).is_enabled()][
        :1
    ]
    expect(cell(page, row, 0)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("heading", name=f"{row} read as 0: ")).to_be_visible()


def test_next_mistake_goes_through_them_the_surest_first(page, mnist):
    mistakes_page(page)
    cell(page, 4, 4).click()
    expect(page.get_by_role("heading", name="4 read as 4: ")).to_be_visible()
    for mistake in surest_first(mnist, MISTAKES)[:4]:
        page.get_by_role("button", name="Next mistake").click()
        expect(page.locator(".mnb-errors .mnb-answer img")).to_have_attribute(
            "src", png_data_url(mnist.test_images[mistake["index"]])
        )
        expect(cell(page, mistake["label"], mistake["digit"])).to_have_attribute(
            "aria-pressed", "true"
        )


def test_a_label_that_looks_wrong_is_flagged_for_everybody(page, open_page, own, mnist):
    mistakes_page(page)
    page.get_by_role("button", name="Its label looks wrong").click()
    expect(tiles(page).first).to_contain_text("⚑")
    assert json.loads((own.home / "flags.json").read_text()) == [
        surest_first(mnist, MISTAKES)[0]["index"]
    ]
    other = open_page(server=own)
    mistakes_page(other)
    other.get_by_role("button", name="Flagged: 1").click()
    expect(tiles(other)).to_have_count(1)
    other.get_by_role("button", name="Remove the flag").click()
    expect(other.get_by_role("button", name="Its label looks wrong")).to_be_visible()
    assert json.loads((own.home / "flags.json").read_text()) == []


@pytest.mark.parametrize("method", ["PCA", pytest.param("t-SNE", marks=pytest.mark.slow)])
def test_a_point_of_the_map_shows_its_digit(page, method):
    mistakes_page(page)
    page.get_by_role("button", name=f"{method} map").click()
    chart = page.locator(".mnb-map:visible svg")
    chart.wait_for(timeout=PATIENCE)
    assert (
        chart.locator("circle").count() == len(MISTAKES) and chart.locator("text").count() >= 2000
    )
    first = page.locator(".mnb-ring").get_attribute("style")
    mark, box = chart.locator("circle").nth(5), page.locator(".mnb-map canvas").bounding_box()
    place = [float(mark.get_attribute(name)) for name in ("cx", "cy")]
    page.mouse.click(
        box["x"] + box["width"] * place[0] / 640, box["y"] + box["height"] * place[1] / 480
    )
    expect(page.locator(".mnb-errors .mnb-sure")).to_contain_text("wrong ✗")
    expect(page.get_by_role("heading", name="and those around it")).to_be_visible()
    expect(page.locator(".mnb-ring")).not_to_have_attribute("style", first)
    picked = page.locator(".mnb-ring").get_attribute("style")
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator(".mnb-ring")).not_to_have_attribute("style", picked)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"


def explained(page, words):
    """The pictures of what spoke for the answer and for the runner-up, when the page says these
    words.
    """
    expect(page.locator(".mnb-why h2").first).to_contain_text(words)
    expect(page.locator(".mnb-evidence img")).to_have_count(3)
    expect(page.locator(".mnb-layers li")).to_have_count(6)
    expect(page.locator(".mnb-why .mnb-parts li")).to_have_count(8, timeout=PATIENCE)
    return [each.get_attribute("src") for each in page.locator(".mnb-evidence img").all()]


def test_why_of_a_drawing_an_upload_and_a_sample(page):
    draw(page, THREE)
    page.get_by_role("button", name="Why?").press("Enter")
    assert len({*explained(page, "Your drawing is read as 3")}) == 3
    assert page.locator(".mnb-why .mnb-parts b").all_inner_texts().count("3") >= 6
    go(page, "Upload")
    upload(page, ("photo.png", "image/png", picture()))
    page.locator(".mnb-picture").get_by_role("button", name="Why?").click()
    explained(page, "Your picture is read as 7")
    go(page, "Samples")
    tiles(page).nth(3).click()
    page.locator(".mnb-samples").get_by_role("button", name="Why?").click()
    explained(page, "Test digit")
    go(page, "Draw")
    page.locator("#dashboard").get_by_role("button", name="Why?").first.click()
    explained(page, "Your drawing is read as 3")


def test_a_slider_moved_by_keyboard_changes_the_digit_and_a_thousand_others(page):
    draw(page, THREE)
    expect(answer(page)).to_have_text("3")
    go(page, "Robustness")
    score, seen = (
        page.locator(".mnb-robustness .mnb-headline b"),
        page.locator(".mnb-robustness .mnb-seen img"),
    )
    expect(score).to_have_text(re.compile("99"), timeout=20_000)
    expect(page.get_by_role("heading", name="Your drawing")).to_be_visible()
    before, unchanged = score.inner_text(), seen.get_attribute("src")
    page.get_by_role("slider", name="Blur").press("End")
    expect(score).not_to_have_text(before)
    expect(seen).not_to_have_attribute("src", unchanged)
    expect(page.locator(".mnb-robustness .mnb-legend")).to_contain_text(
        "blur alone", timeout=PATIENCE
    )
    changed = score.inner_text()
    page.get_by_role("slider", name="Blur").press("ArrowLeft")
    expect(score).not_to_have_text(changed)
    page.get_by_role("button", name="Undo all").click()
    expect(score).to_have_text(before)
    expect(seen).to_have_attribute("src", unchanged)


def test_two_versions_on_the_same_drawing(page):
    draw(page, THREE)
    expect(answer(page)).to_have_text("3")
    go(page, "Compare")
    views = page.locator(".mnb-compare .mnb-reading")
    expect(page.get_by_role("heading", name="Your drawing, read by two versions")).to_be_visible()
    for view in views.all():
        expect(view.locator(".mnb-digit")).to_have_text("3")
    one, other = views.all_inner_texts()
    assert one != other
    expect(page.get_by_text("1 digits are read by pretrained only, 1 by")).to_be_visible()
    expect(tiles(page)).to_have_count(2)
    tiles(page).first.click()
    expect(page.get_by_role("heading", name=f"Test digit {MEANT} (a 7)")).to_be_visible()
    page.get_by_label("The other").select_option("pretrained")
    expect(page.get_by_text("Choose two versions")).to_be_visible()
    assert len({*views.all_inner_texts()}) == 1


def test_a_game_by_keyboard_alone(page, mnist):
    page.locator("#pages [data-page=play]").press("Enter")
    for at in range(10):
        expect(page.get_by_text(f"Round {at + 1} of 10")).to_be_visible(timeout=20_000)
        page.keyboard.press(str(at))
    rounds = page.locator(".mnb-rounds li")
    expect(rounds).to_have_count(10)
    labels = {
        png_data_url(image): label
        for image, label in zip(mnist.test_images, mnist.test_labels, strict=True)
    }
    wrong = {*pictures_of(mnist, MISTAKES)}
    mine = its = 0
    for at, each in enumerate(rounds.all()):
        source, label = (
            each.locator("img").get_attribute("src"),
            int(each.locator("b").inner_text()),
        )
        assert labels[source] == label
        expect(each).to_contain_text(f"you {at} " + "✗✓"[at == label])
        expect(each.locator("span").last).to_contain_text("✗" if source in wrong else "✓")
        mine, its = mine + (at == label), its + (source not in wrong)
    expect(page.locator(".mnb-score")).to_have_text(f"You {mine} of 10, the network {its}.")
    page.get_by_role("button", name="Play again").press("Enter")
    expect(page.get_by_text("Round 1 of 10")).to_be_visible()
