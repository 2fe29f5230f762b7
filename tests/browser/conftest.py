"""A real browser on the real server.

`page` is a fresh visitor, `open_page` makes more of them, `served` is the server. A screenshot of
each page is left in artifacts/. At the end of a test,
its pages must have logged no error and asked no other host.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.launch import launch
from tests.serving import Served, at_home

ARTIFACTS = Path(__file__).parents[2] / "artifacts"


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory, data_file):
    "The server that the tests share, with a home of its own."
    with at_home(tmp_path_factory.mktemp("home"), data_file):
        server = Served(visitors=30)
    yield server
    server.stop()


@pytest.fixture
def open_page(browser, served, request):
    """Opens a page as a new visitor and waits until it is ready: `open_page('/train', width=375,
    color_scheme='dark', has_touch=True)`.

    A page has `errors` and `foreign`, lists of what went wrong and of requests to other hosts,
    which a test may empty where it caused them.
    """
    pages = []

    def open_one(path="/", width=1280, height=800, ready=True, server=served, **options):
        page = browser.new_context(
            viewport={"width": width, "height": height}, **options
        ).new_page()
        page.errors, page.foreign = [], []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on(
            "console",
            lambda message: page.errors.append(message.text) if message.type == "error" else None,
        )
        page.on(
            "request",
            lambda asked: (
                page.foreign.append(asked.url)
                if urlsplit(asked.url).scheme not in ("data", "blob")
                and urlsplit(asked.url).netloc != server.address.netloc
                else None
            ),
        )
        pages.append(page)
        page.goto(server.url.rstrip("/") + path, wait_until="commit")
        if ready:
            page.wait_for_selector("html[data-state=ready]", timeout=60_000)
        return page

    yield open_one
    ARTIFACTS.mkdir(exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", request.node.name)
    for number, page in enumerate(pages):
        page.screenshot(path=ARTIFACTS / f"{name}-{number}.png")
    said = [(page.errors, page.foreign) for page in pages]
    for page in pages:
        page.context.close()
    assert not [each for each in said if each != ([], [])], said


@pytest.fixture
def page(open_page):
    "The dashboard, ready, at 1280 by 800."
    return open_page()
