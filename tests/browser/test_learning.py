"""What visitors do to make the network better: correct it, teach it, and steer its trainings, in a
browser, on the real server.
"""

import io
import re
import zipfile

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.pen import NUMBER, SEVEN, THREE, draw
from tests.browser.test_dashboard import answer, go, picture, upload
from tests.serving import Served

TAUGHT, PATIENCE = ".mnb-learning table", 240_000


@pytest.fixture
def own(home):
    "A server with a home of its own, for its corrections and versions are everybody's."
    server = Served(warm=0)
    yield server
    server.stop()


def bar(page):
    return page.locator(".mnb-correct:visible")


def correct(page, label):
    "Say what it really is."
    bar(page).get_by_role("button", name=label, exact=True).click()
    expect(bar(page)).to_contain_text("Kept:")


def surely(page):
    "The second click, which does not follow at once on the first."
    page.wait_for_timeout(600)
    page.get_by_role("button", name="Really?").click()


def redraw(page, lines):
    "Draw on an empty sheet and wait for the answer."
    page.keyboard.press("Escape")
    expect(bar(page)).to_have_count(0)
    draw(page, lines, pause=1)
    expect(bar(page)).to_be_visible()


def test_a_drawing_is_corrected_taken_back_and_corrected_anew(own, open_page):
    page, other = open_page(server=own), open_page(server=own)
    expect(bar(page)).to_have_count(0)
    draw(page, THREE)
    bar(page).get_by_role("button", name="3", exact=True).click()
    expect(bar(page)).to_contain_text("nothing to correct")
    correct(page, "5")
    expect(bar(page)).to_contain_text("Kept: a 5, read as a 3.")
    go(other, "Corrections")
    expect(other.locator(".mnb-learning .mnb-tile")).to_have_text(["5 → 3 ✗"])
    page.get_by_role("button", name="Take back").click()
    expect(bar(page)).not_to_contain_text("Kept")
    expect(other.get_by_text("No corrections here")).to_be_visible(timeout=20_000)
    correct(page, "8")
    correct(page, "not a digit")
    expect(other.locator(".mnb-learning .mnb-tile")).to_have_text(["– → 3 ✗"], timeout=20_000)


def test_a_digit_of_a_number_is_corrected(open_page, own):
    page = open_page(server=own)
    page.get_by_role("button", name="A number").first.click()
    draw(page, NUMBER)
    digits = page.locator(".mnb-digits:visible").get_by_role("button")
    expect(digits).to_have_text(["digit 1", "digit 2", "digit 3"])
    for place, digit in enumerate("712"):
        digits.nth(place).click()
        expect(page.locator(".mnb-least")).to_contain_text(
            re.compile(f"Digit {place + 1}.*: {digit}")
        )
        expect(page.locator(".mnb-bars .best b").first).to_have_text(digit)
    correct(page, "5")
    expect(bar(page)).to_contain_text("Kept: a 5, read as a 2.")
    page.get_by_role("button", name="Take back").click()
    expect(bar(page)).not_to_contain_text("Kept")


def test_corrections_are_filtered_exported_and_forgotten(own, open_page):
    page, other = open_page(server=own), open_page(server=own)
    draw(other, SEVEN)
    correct(other, "1")
    draw(page, THREE)
    correct(page, "8")
    go(page, "Upload")
    upload(page, ("photo.png", "image/png", picture()))
    correct(page, "1")
    go(page, "Corrections")
    tiles = page.locator(".mnb-learning .mnb-tile")
    expect(tiles).to_have_text(["1 → 7 ✗", "8 → 3 ✗", "1 → 7 ✗"])
    page.get_by_label("Whose").select_option("only mine")
    expect(tiles).to_have_count(2)
    page.get_by_label("Really").select_option("only 8")
    expect(tiles).to_have_text(["8 → 3 ✗"])
    expect(page.locator(".mnb-learning .mnb-answer")).to_contain_text("It is an 8")
    page.get_by_label("Really").select_option("any")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save corrections.zip (2").click()
    folder = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    assert [
        row.split(",")[1:3]
        for row in folder.read("corrections/labels.csv").decode().splitlines()[1:]
    ] == [["1", "7"], ["8", "3"]]
    with np.load(io.BytesIO(folder.read("corrections/corrections.npz"))) as arrays:
        assert arrays["images"].shape == (2, 28, 28)
    page.get_by_role("button", name="Forget my 2").dblclick()
    page.get_by_role("button", name="No", exact=True).click()
    expect(tiles).to_have_count(2)
    page.get_by_role("button", name="Forget my 2").click()
    surely(page)
    expect(tiles).to_have_count(0)
    page.get_by_label("Whose").select_option("everybody's")
    expect(tiles).to_have_count(1)
    page.get_by_role("button", name="Take this one back").click()
    expect(tiles).to_have_count(0)


@pytest.mark.slow
def test_a_lesson_from_its_beginning_to_a_rollback(own, open_page):
    page, other = open_page(server=own), open_page(server=own)
    for _ in range(5):
        redraw(page, THREE)
        correct(page, "8")
    redraw(page, SEVEN)
    correct(page, "1")
    for each in (page, other):
        go(each, "Corrections")
    page.get_by_role("button", name="Learn from all 6").click()
    for each in (page, other):
        expect(each.locator(".mnb-learning h2").filter(has_text="taught")).to_contain_text(
            "epoch 1 of 2", timeout=PATIENCE
        )
    for each in (page, other):
        expect(each.locator(TAUGHT)).to_contain_text("MNIST, test", timeout=PATIENCE)
    expect(page.locator(f"{TAUGHT} tr")).to_have_count(6)
    expect(page.locator(".mnb-version option:checked")).to_have_text("pretrained (in use)")
    go(other, "Train")
    expect(other.locator(".mnb-kernels img")).to_have_count(32)
    expect(other.locator(".mnb-mistakes img")).to_have_count(12)
    page.get_by_role("button", name="Use it for everybody").click()
    for each in (page, other):
        expect(each.locator(".mnb-version option:checked")).to_contain_text(
            re.compile(r"-taught\s\(in\suse\)"), timeout=20_000
        )
    go(other, "Draw")
    draw(other, THREE)
    expect(answer(other)).to_have_text(re.compile("3|8"))
    page.get_by_role("button", name="Go back to the version before").click()
    for each in (page, other):
        expect(each.locator(".mnb-version option:checked")).to_have_text(
            "pretrained (in use)", timeout=20_000
        )
    page.get_by_role("button", name="Throw it away").click()
    surely(page)
    expect(page.locator(TAUGHT)).to_have_count(0)
    assert [model["version"] for model in own.get("/api/models").json["models"]] == ["pretrained"]


@pytest.mark.slow
def test_a_training_is_steered_by_one_and_watched_by_two_to_its_end(own, open_page):
    page, other = open_page("/train", server=own), open_page(server=own)
    page.get_by_label("Epochs").fill("1")
    page.get_by_label("Time limit").fill("25")
    page.get_by_label("Afterwards").select_option("only keep it")
    page.get_by_role("button", name="Start training").click()
    go(other, "Train")
    state, controls = ".mnb-train h2 >> nth=1", ".mnb-controls"
    for each in (page, other):
        expect(each.locator(state)).to_contain_text("quick: epoch 1 of 1", timeout=PATIENCE)
    other.locator(controls).get_by_role("button", name="Pause").click()
    for each in (page, other):
        expect(each.locator(state)).to_contain_text("paused in epoch 1", timeout=20_000)
    page.locator(controls).get_by_label("Learning rate").fill("0.002")
    page.locator(controls).get_by_label("Dropout").fill("0.2")
    page.locator(controls).get_by_role("button", name="Change").click()
    page.locator(controls).get_by_role("button", name="One more epoch").click()
    page.locator(controls).get_by_role("button", name="Continue").click()
    for each in (page, other):
        expect(each.locator(state)).to_contain_text("quick: epoch 1 of 2", timeout=20_000)
        for said in (
            "paused",
            "learning rate 0.002",
            "dropout 0.2",
            "to end after 2 epochs",
            "continued",
        ):
            expect(each.locator(".mnb-log")).to_contain_text(said)
        expect(each.locator(".mnb-figures")).to_contain_text("digits a second")
    assert other.locator(controls).get_by_label("Learning rate").input_value() == "0.002"
    for each in (page, other):
        expect(each.locator(state)).to_contain_text("quick: finished", timeout=PATIENCE)
    expect(page.locator(controls)).to_be_hidden()
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    made = own.get("/api/train").json["job"]["version"]
    assert {
        model["version"]: model["current"] for model in own.get("/api/models").json["models"]
    } == {"pretrained": True, made: False}


def test_a_correction_by_keyboard_alone(page):
    draw(page, SEVEN)
    expect(bar(page)).to_be_visible()
    page.locator("#pages a").first.focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if (
            page.evaluate(
                "() => document.activeElement.closest('.mnb-correct') &&"
                " document.activeElement.textContent"
            )
            == "1"
        ):
            break
    page.keyboard.press("Enter")
    expect(bar(page)).to_contain_text("Kept: a 1, read as a 7.")
    page.keyboard.press("Tab")
    for _ in range(12):
        if page.evaluate("() => document.activeElement.textContent") == "Take back":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(bar(page)).not_to_contain_text("Kept")
