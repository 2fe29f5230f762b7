"""The pages become ready, say so when they cannot, and leave nothing behind."""

import pytest

from tests.serving import Served, patience


@pytest.mark.parametrize(
    "path, width, color_scheme",
    [("/", 375, "light"), ("/", 1280, "dark"), ("/train", 375, "dark"), ("/train", 1280, "light")],
)
def test_a_page_becomes_ready(open_page, path, width, color_scheme):
    page = open_page(path, width=width, color_scheme=color_scheme)
    assert (
        page.locator("#dashboard .jupyter-widgets").count()
        and not page.locator("#skeleton").is_visible()
        and not page.locator("#notice").is_visible()
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_beginning_shows_before_anything_else_has_come(open_page):
    page = open_page(ready=False)
    page.route("**/*.js", lambda route: route.abort())
    page.goto(page.url, wait_until="commit")
    page.wait_for_selector("#skeleton .sheet")
    assert "starting" in page.inner_text("#skeleton")
    page.errors.clear()


def test_a_page_makes_three_requests(open_page, served):
    page, asked = open_page(ready=False), []
    page.goto("about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(served.url, wait_until="commit")
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    assert len(asked) == 3
    page.foreign.clear()


@pytest.fixture
def own_server(home):
    "A server whose only kernels are those of its visitors."
    server = Served(warm=0)
    yield server
    server.stop()


def test_a_dead_kernel_is_told_and_a_reload_helps(open_page, own_server):
    page = open_page(server=own_server)
    (kernel,) = own_server.kernels()
    kernel.kill()
    page.wait_for_selector("html[data-state=failed]", timeout=30_000)
    assert "stopped" in page.inner_text("#notice")
    page.click("#reload")
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)


def test_a_page_that_is_left_frees_its_kernel(open_page, own_server):
    page = open_page(server=own_server)
    assert len(own_server.kernels()) == 1
    page.goto("about:blank")
    with patience() as until:
        until(lambda: not own_server.kernels())


SOCKETS = """window.sockets = [];
const Real = WebSocket;
window.WebSocket = class extends Real {
    constructor(url, ...rest) {
        super(window.cut ? url.replace('/live/', '/gone/') : url, ...rest);
        window.sockets.push(this);
    }
};"""


def test_a_lost_connection_comes_back_to_the_same_kernel(open_page, own_server):
    page = open_page("/nothing", server=own_server, ready=False)
    page.add_init_script(SOCKETS)
    page.goto(own_server.url)
    page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    before = own_server.kernels()
    page.evaluate("() => { window.cut = true; window.sockets[0].close(3000) }")
    page.wait_for_selector("html[data-state=lost]", timeout=30_000)
    page.evaluate("() => { window.cut = false }")
    page.wait_for_selector("html[data-state=ready]", timeout=30_000)
    assert own_server.kernels() == before
    assert all("404" in error for error in page.errors)
    page.errors.clear()


def test_a_stopped_server_is_told(open_page, own_server):
    page = open_page(server=own_server)
    own_server.stop()
    page.wait_for_selector("html[data-state=failed]", timeout=30_000)
    assert "stopped" in page.inner_text("#notice")
