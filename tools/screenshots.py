"""Takes the pictures of the page that stand in the README and the notebooks: `python -m
tools.screenshots`.

They need Chromium in the PATH, and show a drawing, its explanation, uploaded pictures, mistakes,
corrections and a real training, read by the shipped model.
"""

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from mnist_nb.core import home_folder
from mnist_nb.data.mnist import load_mnist
from mnist_nb.reader import Reader
from mnist_nb.training.corrections import Corrections
from tests.browser.launch import launch
from tests.browser.pen import THREE, draw, rounded
from tests.serving import Served
from tests.test_fine_tuning import strange_seven

IMAGES = Path(__file__).parent.parent / "nbs" / "images"


def draw_page(page):
    "A three, drawn."
    draw(page, [rounded(line) for line in THREE], pause=1)
    page.get_by_text("Very sure").or_(page.get_by_text("Sure,")).first.wait_for()
    page.mouse.move(5, 5)


def tab(page, name):
    "Turn to a page."
    page.locator(f"#pages [data-page={name.lower()}]").click()


def why_page(page):
    "Why the drawing is a three."
    page.get_by_role("button", name="Why?").click()
    page.locator(".mnb-why .mnb-parts").wait_for(timeout=300_000)
    page.mouse.move(5, 5)


def mistakes_page(page):
    "The cell of the sevens that were read as ones."
    tab(page, "Mistakes")
    page.locator(".mnb-cell").nth(71).click(timeout=60_000)
    page.get_by_role("heading", name="7 read as 1").wait_for()
    page.mouse.move(5, 5)


def robustness_page(page):
    "A blur that the network bears, and its curve."
    tab(page, "Robustness")
    slider = page.get_by_role("slider", name="Blur")
    slider.wait_for(timeout=60_000)
    for _ in range(12):
        slider.press("ArrowRight")
    page.locator(".mnb-robustness .mnb-legend").wait_for(timeout=300_000)
    page.mouse.move(5, 5)


def corrections_page(page):
    "Fifty corrected drawings of a strange seven, and what the network learns from them."
    reader, rng, corrections = Reader.load("pretrained"), np.random.default_rng(0), Corrections()
    for strokes in (strange_seven(rng) for _ in range(50)):
        corrections.add(reader.read_strokes(strokes), 7, source="drawing", strokes=strokes)
    tab(page, "Corrections")
    page.get_by_role("button", name="Learn from all 50").click()
    page.get_by_role("button", name="Use it for everybody").wait_for(timeout=600_000)
    page.mouse.move(5, 5)


def upload_page(page):
    "The drawn picture of the notebooks: as it is, in chalk, and upside down until it is turned."
    tab(page, "Upload")
    five = cv2.imread(str(IMAGES / "drawn.png"), cv2.IMREAD_GRAYSCALE)
    files = {
        "drawn.png": five,
        "chalk.png": 255 - five,
        "upside-down.png": cv2.rotate(five, cv2.ROTATE_180),
    }
    with page.expect_file_chooser() as chooser:
        page.locator("#dashboard .mnb-drop").click()
    chooser.value.set_files(
        [
            {
                "name": name,
                "mimeType": "image/png",
                "buffer": cv2.imencode(".png", image)[1].tobytes(),
            }
            for name, image in files.items()
        ]
    )
    page.mouse.move(5, 5)
    turned = page.locator(".mnb-picture").filter(has_text="upside-down")
    for _ in range(2):
        turned.get_by_role("button", name="Turn right").click()
    page.evaluate("scrollTo(0, 0)")


def train_page(page):
    "A quick training, in its third epoch."
    tab(page, "Train")
    page.get_by_label("Epochs").fill("4")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("epoch 3 of 4").wait_for(timeout=600_000)
    page.wait_for_timeout(6000)
    page.mouse.move(5, 5)


def main():
    load_mnist()
    data = os.environ.get("MNIST_NB_DATA") or str((home_folder() / "data" / "mnist.npz").resolve())
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        os.environ.update(MNIST_NB_HOME=home, MNIST_NB_DATA=data)
        server = Served()
        try:
            browser = launch(playwright)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(server.url)
            page.wait_for_selector("html[data-state=ready]", timeout=60_000)
            for name, show in {
                "draw": draw_page,
                "why": why_page,
                "mistakes": mistakes_page,
                "robustness": robustness_page,
                "upload": upload_page,
                "corrections": corrections_page,
                "train": train_page,
            }.items():
                show(page)
                page.wait_for_timeout(1500)
                page.screenshot(path=IMAGES / f"page_{name}.png")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
