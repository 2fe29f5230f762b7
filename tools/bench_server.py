"""Times the served pages and the API as visitors see them: `python -m tools.bench_server
[--rounds 5] [--visitors 20] [--drawing 5]`.

Everything runs on this machine: the server, the kernels, and one Chromium for all visitors, which
slow each other down. Measured are the seconds from opening the page to its first paint and to its
canvas, with a warm and with a cold kernel; the milliseconds from a stroke's last point to the bars,
for one visitor and among others, and from a click to an explanation; the memory of a kernel; and
/api/predict with one client and with many.
"""

import argparse
import asyncio
import http.client
import io
import json
import os
import tempfile
import threading
import time

import numpy as np
import psutil
import websockets
from PIL import Image
from playwright.sync_api import sync_playwright

from mnist_nb.analysis.robustness import redraw
from mnist_nb.data.mnist import load_test_digits
from mnist_nb.serving.kernels import WEBSOCKET_SUBPROTOCOL, join_message, split_message
from tests.browser.launch import launch
from tests.serving import Served, patience

UNTHROTTLED = (
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)

DRAW_SCRIPT = """
Element.prototype.setPointerCapture = () => {};
window.strokes = async (count, pause) => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms)),
      canvas = document.querySelector('.mnb-sheet canvas'), taken = [];
  const point = (type, x, y) => {
    const box = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent(type, {bubbles: true, cancelable: true, pointerId: 1,
        isPrimary: true, clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
  };
  let changed = 0;
  new MutationObserver(() => { changed = performance.now(); }).observe(
      document.querySelector('#dashboard'),
      {childList: true, subtree: true, characterData: true});
  for (let stroke = 0; stroke < count; stroke++) {
    const clear = [...document.querySelectorAll('button')].find((button) =>
        button.textContent.trim() === 'Clear');
    clear.click();
    await wait(pause + 400 * Math.random());
    const slant = 0.12 * Math.random();
    point('pointerdown', 0.4, 0.2);
    for (let step = 1; step <= 30; step++) { await wait(16);
        point('pointermove', 0.4 + slant * step / 30 + 0.15 * Math.sin(step / 5),
            0.2 + 0.6 * step / 30); }
    const last = performance.now();
    point('pointerup', 0.4 + slant + 0.15 * Math.sin(6), 0.8);
    changed = 0;
    while (changed ? performance.now() - changed < pause : performance.now() - last < 10000)
        await wait(20);
    taken.push(changed ? changed - last : NaN);
  }
  return taken;
};"""

WAIT_SCRIPT = """
window.until = (selector, act, seconds = 5) => new Promise((done) => {
  const started = performance.now(), place = document.querySelector(selector);
  const watcher = new MutationObserver(() => { watcher.disconnect();
      done(performance.now() - started); });
  watcher.observe(place, {childList: true, subtree: true, characterData: true});
  setTimeout(() => { watcher.disconnect(); done(NaN); }, 1000 * seconds);
  act();
});
window.press = (word) => [...document.querySelectorAll('button')].find((button) =>
    button.offsetParent && button.textContent.trim() === word).click();
window.arrow = (slider, key) => document.querySelector(
    `.noUi-handle[aria-label="${slider}"]`).dispatchEvent(new KeyboardEvent('keydown', {key,
        bubbles: true, cancelable: true}));"""


def show(name, values, unit, digits=2):
    "Print the median and the 99th percentile of some values."
    values = np.asarray(values, float)
    lost = f", {np.isnan(values).sum()} without an answer" if np.isnan(values).any() else ""
    print(
        f"{name:<58} median {np.nanmedian(values):>8.{digits}f} {unit}, 99th percentile"
        f" {np.nanpercentile(values, 99):>8.{digits}f} {unit} of {len(values)}{lost}",
        flush=True,
    )


def open_page(browser, url):
    "Open the dashboard; returns the page, and the seconds to its first paint and to its canvas."
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(DRAW_SCRIPT)
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector("html[data-state=ready] .mnb-sheet canvas", timeout=120_000)
    ready = time.perf_counter() - started
    return (
        page,
        page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime/1000 ?? NaN"
        ),
        ready,
    )


def time_opening(browser, name, rounds, warm):
    "Time the opening of the dashboard by one visitor after the other."
    server, times = Served(warm=warm), []
    try:
        for _ in range(rounds):
            with patience(120) as until:
                until(
                    lambda: (
                        len(server.kernels()) == 2 * warm
                        and server.get("/api/health/live").status == 200
                    )
                )
            time.sleep(4 if warm else 1)
            page, *seconds = open_page(browser, server.url)
            times.append(seconds)
            page.context.close()
    finally:
        server.stop()
    seen, ready = zip(*times, strict=True)
    show(f"{name}: first paint", seen, "s")
    show(f"{name}: a canvas to draw on", ready, "s")


def cpu_seconds(server):
    "CPU seconds used by the server and by the kernels."
    return [
        sum(sum(process.cpu_times()[:2]) for process in processes)
        for processes in ([psutil.Process(server.process.pid)], server.kernels())
    ]


def time_drawing(browser, visitors, hands, strokes):
    "Time the answers to strokes: of one visitor, then of some among many."
    server = Served(warm=1, visitors=visitors)
    try:
        page, *_ = open_page(browser, server.url)
        show(
            "a stroke's last point to its bars, alone",
            page.evaluate("strokes(12, 500)")[2:],
            "ms",
            0,
        )
        started = time.perf_counter()
        pages = [page] + [open_page(browser, server.url)[0] for _ in range(visitors - 1)]
        print(
            f"{visitors} visitors are connected after {time.perf_counter() - started:.0f} s, one"
            " after the other"
        )
        before = cpu_seconds(server)
        for each in pages[:hands]:
            each.evaluate(
                f"() => {{ window.result = null; strokes({strokes}, 500).then((taken) => {{"
                " window.result = taken; }) }"
            )
        durations = []
        for each in pages[:hands]:
            with patience(300) as until:
                until(lambda each=each: each.evaluate("window.result") is not None)
            durations += each.evaluate("window.result")
        show(f"the same, {hands} of {visitors} drawing at once", durations, "ms", 0)
        server_ms, kernel_ms = (
            1000 * (after - early) / len(durations)
            for after, early in zip(cpu_seconds(server), before, strict=True)
        )
        print(
            f"CPU for a stroke of 30 points: {server_ms:.0f} ms of the server, {kernel_ms:.0f} ms"
            " of the kernel; the browser takes the rest"
        )
        lost = [
            each
            for each in pages
            if each.evaluate("document.documentElement.dataset.state") != "ready"
        ]
        print(f"connections lost: {len(lost)}")
        memory = sorted(process.memory_full_info().pss / 1e6 for process in server.kernels())
        show("memory of a kernel (PSS)", memory, "MB", 0)
        print(
            "memory of the server (PSS):"
            f" {psutil.Process(server.process.pid).memory_full_info().pss / 1e6:.0f} MB"
        )
        for each in pages:
            each.context.close()
    finally:
        server.stop()


STROKE_SECONDS = 0.5


def message(kind, content, metadata=None):
    "A message to a kernel as the page sends it, and its id."
    name = os.urandom(8).hex()
    header = {"msg_id": name, "session": "crowd", "username": "", "msg_type": kind}
    header |= {"date": "2026-01-01T00:00:00Z", "version": "5.3"}
    parts = [json.dumps(part).encode() for part in (header, {}, metadata or {}, content)]
    return name, join_message([b"shell", *parts])


async def draw_by_websocket(server, strokes, durations, answered, together):
    """Draw over a websocket as one visitor; append the milliseconds from each pen event until the
    kernel has handled it, and from each stroke's end to its answer, nan if there was none.
    """
    visit = await asyncio.to_thread(server.visit)
    address = f"ws://{server.address.netloc}/live/{visit}?session_id=crowd"
    async with websockets.connect(
        address, subprotocols=[WEBSOCKET_SUBPROTOCOL], proxy=None, max_size=None, open_timeout=120
    ) as page:
        comm, waiting, models, answers = os.urandom(8).hex(), {}, {}, []
        version = {"version": "1.0.0"}
        request = {"comm_id": comm, "target_name": "jupyter.widget.control", "data": {}}
        await page.send(message("comm_open", request, version)[1])
        request = {"comm_id": comm, "data": {"method": "request_states"}}
        await page.send(message("comm_msg", request, version)[1])

        async def listen():
            async for packet in page:
                _, header, parent, _, content, *_ = split_message(packet)
                kind, content_fields = json.loads(header)["msg_type"], json.loads(content)
                if kind == "status" and content_fields["execution_state"] == "idle":
                    done = waiting.pop(json.loads(parent).get("msg_id"), None)
                    if done:
                        done.set_result(time.perf_counter())
                elif kind == "comm_msg":
                    models.update(content_fields["data"].get("states", {}))
                    if content_fields["comm_id"] in views and "value" in content_fields["data"].get(
                        "state", {}
                    ):
                        answers.append(time.perf_counter())

        views = set()
        listener = asyncio.create_task(listen())
        while not models:
            await asyncio.sleep(0.1)
        canvas = next(name for name, each in models.items() if each["model_name"] == "CanvasModel")
        views |= {
            name
            for name, each in models.items()
            if "mnb-reading" in each["state"].get("_dom_classes", ())
        }

        def pen(event, *points):
            places = [{"x": x, "y": y} for x, y in points]
            content_fields = {"event": event, "touches": places, **(places[0] if places else {})}
            name, packet = message(
                "comm_msg",
                {"comm_id": canvas, "data": {"method": "custom", "content": content_fields}},
            )
            waiting[name] = asyncio.get_running_loop().create_future()
            return waiting[name], packet

        async def timed(event, *points):
            done, packet = pen(event, *points)
            started = time.perf_counter()
            await page.send(packet)
            try:
                durations.append(1000 * (await asyncio.wait_for(done, 10) - started))
            except TimeoutError:
                durations.append(np.nan)

        await together.wait()
        every = 0.05
        for at in range(strokes):
            await asyncio.sleep(0.5 + 0.4 * np.random.random())
            x = 80 + 100 * (at % 5)
            events = [asyncio.create_task(timed("mouse_down", (x, 100)))]
            count = round(STROKE_SECONDS / every)
            for step in range(count):
                await asyncio.sleep(every)
                points = [
                    (x + 40 * step / count, 100 + 300 * step / count + y) for y in (0, 10, 20)
                ]
                events.append(asyncio.create_task(timed("touch_move", *points)))
            answers.clear()
            ended = time.perf_counter()
            events.append(asyncio.create_task(timed("mouse_up", (x + 40, 400))))
            await asyncio.gather(*events)
            await asyncio.sleep(0.3)
            answered.append(1000 * (answers[-1] - ended) if answers else np.nan)
            every = min(0.2, max(0.05, (time.perf_counter() - ended - 0.3) / 4))
        listener.cancel()


async def draw_in_crowd(server, visitors, strokes, concurrent_work):
    "Let visitors draw over websockets, and do something else meanwhile."
    durations, answered, together = [], [], asyncio.Barrier(visitors + 1)
    async with asyncio.TaskGroup() as hands:
        for _ in range(visitors):
            hands.create_task(draw_by_websocket(server, strokes, durations, answered, together))
        await together.wait()
        result = await asyncio.to_thread(concurrent_work) if concurrent_work else None
    return durations, answered, result


def time_crowd(visitors, strokes, seconds, digit):
    """Time the answers to pens without a browser, which would take most of the CPU: a crowd alone,
    then together with clients of /api/predict.
    """
    file = io.BytesIO()
    Image.fromarray(255 - redraw(digit)).save(file, "PNG")
    server = Served(warm=1, visitors=2 * visitors)
    try:
        for name, concurrent_work in (
            ("", None),
            (
                ", with /api/predict",
                lambda: (
                    len(time_requests(server, 4, seconds, file.getvalue(), "image/png")) / seconds
                ),
            ),
        ):
            durations, answered, speed = asyncio.run(
                draw_in_crowd(server, visitors, strokes, concurrent_work)
            )
            show(f"{visitors} hands, an event of the pen{name}", durations, "ms", 0)
            show(f"{visitors} hands, a stroke's end to its answer{name}", answered, "ms", 0)
            if speed:
                print(
                    f"/api/predict, PNG of 280 x 280, 4 at once meanwhile: {speed:.0f} requests/s"
                )
    finally:
        server.stop()


def turn_to(page, tab, ready):
    "Show a page and wait until its slow parts are there."
    page.locator(f"#pages [data-page={tab.lower()}]").click()
    page.locator(ready).wait_for(timeout=300_000)
    page.locator(".mnb-busy >> visible=true").wait_for(state="detached", timeout=300_000)
    page.wait_for_timeout(1000)


def time_explanations(browser, rounds):
    """Time the explanations for one visitor: why, and a step of each slider after the others."""
    server = Served(warm=0)
    try:
        page, *_ = open_page(browser, server.url)
        page.evaluate(f"() => {{ {WAIT_SCRIPT} }}")
        turn_to(page, "Why", ".mnb-why .mnb-layers")
        turn_to(page, "Samples", ".mnb-samples .mnb-tile >> nth=0")
        why = []
        for at in range(rounds):
            page.locator(".mnb-samples .mnb-tile").nth(at % 28).click()
            page.wait_for_timeout(500)
            why.append(page.evaluate("until('.mnb-why .mnb-live', () => press('Why?'))"))
            turn_to(page, "Samples", ".mnb-samples .mnb-tile >> nth=0")
        show('from "Why?" to its pictures (budget 200 ms)', why, "ms", 0)
        turn_to(page, "Robustness", ".mnb-robustness .mnb-chart")

        def step(name):
            return page.evaluate(
                "(name) => until('.mnb-robustness .mnb-curve', () => arrow(name, 'ArrowRight'))",
                name,
            )

        for name in page.locator(".mnb-sliders .noUi-handle").evaluate_all(
            "(all) => all.map((each) => each.getAttribute('aria-label'))"
        ):
            show(
                f"a step of {name.lower()}, with all before it (budget 300 ms)",
                [step(name) for _ in range(4)],
                "ms",
                0,
            )
        show(
            "memory of its kernel (PSS, budget 90 MB)",
            [process.memory_full_info().pss / 1e6 for process in server.kernels()],
            "MB",
            0,
        )
        page.context.close()
    finally:
        server.stop()


def time_requests(server, clients, seconds, body, kind):
    "The milliseconds of each response of /api/predict to some concurrent clients, an array."

    def ask(durations):
        connection, end = (
            http.client.HTTPConnection(server.address.hostname, server.address.port),
            time.monotonic() + seconds,
        )
        while time.monotonic() < end:
            started = time.perf_counter()
            connection.request("POST", "/api/predict", body, {"Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"/api/predict answered {answer.status}")
            durations.append(1000 * (time.perf_counter() - started))

    durations = [[] for _ in range(clients)]
    threads = [threading.Thread(target=ask, args=(own,)) for own in durations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return np.concatenate(durations)


def time_predictions(seconds, many, digit):
    "Time /api/predict, for MNIST's own pixels and for a drawing as PNG."
    server, file = Served(warm=1), io.BytesIO()
    Image.fromarray(255 - redraw(digit)).save(file, "PNG")
    try:
        for name, body, kind in (
            ("784 pixels", json.dumps({"pixels": digit.tolist()}).encode(), "application/json"),
            ("PNG of 280 x 280", file.getvalue(), "image/png"),
        ):
            for clients in (1, many):
                process = psutil.Process(server.process.pid)
                before = sum(process.cpu_times()[:2])
                durations = time_requests(server, clients, seconds, body, kind)
                cpu = 1000 * (sum(process.cpu_times()[:2]) - before) / len(durations)
                print(
                    f"/api/predict, {name}, {clients} at once: {len(durations) / seconds:.0f}"
                    f" requests/s, {cpu:.1f} ms of the server's CPU each"
                )
                show("", durations, "ms", 1)
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--visitors", type=int, default=20, help="how many are connected")
    parser.add_argument("--drawing", type=int, default=5, help="how many of them draw at once")
    parser.add_argument(
        "--strokes", type=int, default=10, help="how many strokes each of them draws"
    )
    parser.add_argument("--seconds", type=float, default=5, help="how long /api/predict is asked")
    parser.add_argument(
        "--only",
        choices=["opening", "drawing", "crowd", "explaining", "predicting"],
        help="leave out the rest",
    )
    arguments = parser.parse_args()
    digit = load_test_digits()[0][0]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as home:
        os.environ["MNIST_NB_HOME"] = home
        if arguments.only not in ("crowd", "predicting"):
            with sync_playwright() as playwright:
                browser = launch(playwright, *UNTHROTTLED)
                if arguments.only in (None, "opening"):
                    time_opening(browser, "warm", arguments.rounds, 1)
                    time_opening(browser, "cold", arguments.rounds, 0)
                if arguments.only in (None, "drawing"):
                    time_drawing(browser, arguments.visitors, arguments.drawing, arguments.strokes)
                if arguments.only in (None, "explaining"):
                    time_explanations(browser, 2 * arguments.rounds)
                browser.close()
        if arguments.only in (None, "crowd"):
            time_crowd(arguments.visitors, arguments.strokes, arguments.seconds, digit)
        if arguments.only in (None, "predicting"):
            time_predictions(arguments.seconds, arguments.visitors, digit)


if __name__ == "__main__":
    main()
