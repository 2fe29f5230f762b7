"""Times the served pages and the API as their visitors see them: `python -m tools.bench_server
[--rounds 5] [--visitors 20] [--drawing 5]`.

Everything runs on this machine: the server, the visitors' kernels, and a Chromium in which all
visitors sit, so that they pay for each other and for the browser too.
Seconds from opening the page to something worth seeing and to a canvas that can be drawn on, with a
kernel that waited and with one that has to start; milliseconds from
a stroke's last point to the bars that answer it, alone and in company; from a question on the pages
that look into the network to its answer; memory of a visitor's kernel; /api/predict with one client
and with many.
"""

import argparse
import asyncio
import http.client
import io
import json
import os
import shutil
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
from tests.serving import Served, patience

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]

HAND = """
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

UNTIL = """
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
    "A line with the median and the 99th percentile of some values."
    values = np.asarray(values, float)
    lost = f", {np.isnan(values).sum()} without an answer" if np.isnan(values).any() else ""
    print(
        f"{name:<58} median {np.nanmedian(values):>8.{digits}f} {unit}, 99th percentile"
        f" {np.nanpercentile(values, 99):>8.{digits}f} {unit} of {len(values)}{lost}",
        flush=True,
    )


def opened(browser, url):
    "A visitor's page that is ready, and the seconds to its first paint and to its canvas."
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(HAND)
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


def opening(browser, name, rounds, warm):
    "Times the opening of the dashboard by one visitor after the other."
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
            page, *seconds = opened(browser, server.url)
            times.append(seconds)
            page.context.close()
    finally:
        server.stop()
    seen, ready = zip(*times, strict=True)
    show(f"{name}: something worth seeing", seen, "s")
    show(f"{name}: a canvas to draw on", ready, "s")


def used(server):
    "Seconds of CPU that the server and the kernels have used."
    return [
        sum(sum(process.cpu_times()[:2]) for process in processes)
        for processes in ([psutil.Process(server.process.pid)], server.kernels())
    ]


def drawing(browser, visitors, hands, strokes):
    "Times the answers to strokes: one visitor alone, then some of many."
    server = Served(warm=1, visitors=visitors)
    try:
        page, *_ = opened(browser, server.url)
        show(
            "a stroke's last point to its bars, alone",
            page.evaluate("strokes(12, 500)")[2:],
            "ms",
            0,
        )
        started = time.perf_counter()
        pages = [page] + [opened(browser, server.url)[0] for _ in range(visitors - 1)]
        print(
            f"{visitors} visitors are connected after {time.perf_counter() - started:.0f} s, one"
            " after the other"
        )
        before = used(server)
        for each in pages[:hands]:
            each.evaluate(
                f"() => {{ window.result = null; strokes({strokes}, 500).then((taken) => {{"
                " window.result = taken; }) }"
            )
        taken = []
        for each in pages[:hands]:
            with patience(300) as until:
                until(lambda each=each: each.evaluate("window.result") is not None)
            taken += each.evaluate("window.result")
        show(f"the same, {hands} of {visitors} drawing at once", taken, "ms", 0)
        server_ms, kernel_ms = (
            1000 * (after - early) / len(taken)
            for after, early in zip(used(server), before, strict=True)
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


async def hand(server, strokes, taken, answered, together):
    """One visitor who draws over a websocket: milliseconds from each of the pen's events until the
    kernel has dealt with it, and from each stroke's end until the answer is there; nan where lost.
    """
    visit = await asyncio.to_thread(server.visit)
    address = f"ws://{server.address.netloc}/live/{visit}?session_id=crowd"
    async with websockets.connect(
        address, subprotocols=[WEBSOCKET_SUBPROTOCOL], proxy=None, max_size=None, open_timeout=120
    ) as page:
        comm, waiting, models, answers = os.urandom(8).hex(), {}, {}, []
        version = {"version": "1.0.0"}
        opened = {"comm_id": comm, "target_name": "jupyter.widget.control", "data": {}}
        await page.send(message("comm_open", opened, version)[1])
        asked = {"comm_id": comm, "data": {"method": "request_states"}}
        await page.send(message("comm_msg", asked, version)[1])

        async def listen():
            async for packet in page:
                _, header, parent, _, content, *_ = split_message(packet)
                kind, said = json.loads(header)["msg_type"], json.loads(content)
                if kind == "status" and said["execution_state"] == "idle":
                    done = waiting.pop(json.loads(parent).get("msg_id"), None)
                    if done:
                        done.set_result(time.perf_counter())
                elif kind == "comm_msg":
                    models.update(said["data"].get("states", {}))
                    if said["comm_id"] in views and "value" in said["data"].get("state", {}):
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
            said = {"event": event, "touches": places, **(places[0] if places else {})}
            name, packet = message(
                "comm_msg", {"comm_id": canvas, "data": {"method": "custom", "content": said}}
            )
            waiting[name] = asyncio.get_running_loop().create_future()
            return waiting[name], packet

        async def timed(event, *points):
            done, packet = pen(event, *points)
            started = time.perf_counter()
            await page.send(packet)
            try:
                taken.append(1000 * (await asyncio.wait_for(done, 10) - started))
            except TimeoutError:
                taken.append(np.nan)

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


async def crowd(server, visitors, strokes, beside):
    "Visitors who all draw over websockets, while something else is done from the start on."
    taken, answered, together = [], [], asyncio.Barrier(visitors + 1)
    async with asyncio.TaskGroup() as hands:
        for _ in range(visitors):
            hands.create_task(hand(server, strokes, taken, answered, together))
        await together.wait()
        found = await asyncio.to_thread(beside) if beside else None
    return taken, answered, found


def drawing_by_websocket(visitors, strokes, seconds, digit):
    """Times the answers to pens without browsers, which would take most of the machine: a crowd
    alone, then beside clients of /api/predict.
    """
    file = io.BytesIO()
    Image.fromarray(255 - redraw(digit)).save(file, "PNG")
    server = Served(warm=1, visitors=2 * visitors)
    try:
        for name, beside in (
            ("", None),
            (
                ", /api/predict beside",
                lambda: len(asking(server, 4, seconds, file.getvalue(), "image/png")) / seconds,
            ),
        ):
            taken, answered, speed = asyncio.run(crowd(server, visitors, strokes, beside))
            show(f"{visitors} hands, an event of the pen{name}", taken, "ms", 0)
            show(f"{visitors} hands, a stroke's end to its answer{name}", answered, "ms", 0)
            if speed:
                print(
                    f"/api/predict, PNG of 280 x 280, 4 at once beside them: {speed:.0f} requests/s"
                )
    finally:
        server.stop()


def turned(page, tab, ready):
    "Turn to a page and wait until what is slow on it is there."
    page.locator(f"#pages [data-page={tab.lower()}]").click()
    page.locator(ready).wait_for(timeout=300_000)
    page.locator(".mnb-busy >> visible=true").wait_for(state="detached", timeout=300_000)
    page.wait_for_timeout(1000)


def explaining(browser, rounds):
    """Times what the pages answer that look into the network, to one visitor: why, a step of each
    slider, and of all of them at once.
    """
    server = Served(warm=0)
    try:
        page, *_ = opened(browser, server.url)
        page.evaluate(f"() => {{ {UNTIL} }}")
        turned(page, "Why", ".mnb-why .mnb-layers")
        turned(page, "Samples", ".mnb-samples .mnb-tile >> nth=0")
        why = []
        for at in range(rounds):
            page.locator(".mnb-samples .mnb-tile").nth(at % 28).click()
            page.wait_for_timeout(500)
            why.append(page.evaluate("until('.mnb-why .mnb-live', () => press('Why?'))"))
            turned(page, "Samples", ".mnb-samples .mnb-tile >> nth=0")
        show('from "Why?" to its pictures (budget 200 ms)', why, "ms", 0)
        turned(page, "Robustness", ".mnb-robustness .mnb-chart")

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


def asking(server, clients, seconds, body, kind):
    "Milliseconds of each answer of /api/predict to some clients at once, an array."

    def ask(taken):
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
            taken.append(1000 * (time.perf_counter() - started))

    taken = [[] for _ in range(clients)]
    threads = [threading.Thread(target=ask, args=(own,)) for own in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return np.concatenate(taken)


def predicting(seconds, many, digit):
    "Requests a second of /api/predict, for MNIST's own pixels and for a drawing as PNG."
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
                taken = asking(server, clients, seconds, body, kind)
                cpu = 1000 * (sum(process.cpu_times()[:2]) - before) / len(taken)
                print(
                    f"/api/predict, {name}, {clients} at once: {len(taken) / seconds:.0f}"
                    f" requests/s, {cpu:.1f} ms of the server's CPU each"
                )
                show("", taken, "ms", 1)
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
    given = parser.parse_args()
    digit = load_test_digits()[0][0]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as home:
        os.environ["MNIST_NB_HOME"] = home
        if given.only not in ("crowd", "predicting"):
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
                    args=FLAGS,
                )
                if given.only in (None, "opening"):
                    opening(browser, "warm", given.rounds, 1)
                    opening(browser, "cold", given.rounds, 0)
                if given.only in (None, "drawing"):
                    drawing(browser, given.visitors, given.drawing, given.strokes)
                if given.only in (None, "explaining"):
                    explaining(browser, 2 * given.rounds)
                browser.close()
        if given.only in (None, "crowd"):
            drawing_by_websocket(given.visitors, given.strokes, given.seconds, digit)
        if given.only in (None, "predicting"):
            predicting(given.seconds, given.visitors, digit)


if __name__ == "__main__":
    main()
