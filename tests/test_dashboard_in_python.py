"""The dashboard in Python: visitors apart, everything that can be missing, and how little a
visitor's kernel loads.
"""

import asyncio
import errno
import io
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from mnist_nb.core import DataError
from mnist_nb.dashboard.app import PAGES, Dashboard
from mnist_nb.dashboard.digit_pages import SamplesPage
from mnist_nb.dashboard.session import Session
from mnist_nb.model.registry import ModelRegistry, set_current
from mnist_nb.training.config import PRESETS
from mnist_nb.training.jobs import Jobs, create_job_folder, job_lock
from tests.browser.pen import THREE

HEAVY = "tensorflow", "keras", "matplotlib", "scipy", "sklearn", "jupyterlab", "pandas", "voila"


@pytest.fixture
def dashboard(home):
    "A dashboard in a new home."
    return Dashboard(jobs=Jobs(server=""))


def open_all(dashboard):
    "Open every tab; returns the pages by name."
    for name in PAGES:
        dashboard.tabs.value = name
    return dashboard.pages


def pen(dashboard, *events):
    "Let the browser report events of the pen, each a name and its points."
    canvas = dashboard.pages["Draw"].pad.canvas
    for event, *points in events:
        places = [{"x": x, "y": y} for x, y in points]
        canvas._handle_frontend_event(
            None, dict(event=event, touches=places, **(places[0] if places else {})), []
        )


def written(lines):
    return [
        event
        for line in lines
        for event in [
            ("mouse_down", line[0]),
            *(("mouse_move", point) for point in line[1:]),
            ("mouse_up", line[-1]),
        ]
    ]


def draft(registry, name):
    "A second version, a copy of the shipped one."
    folder = registry.folder / name
    folder.mkdir(parents=True)
    for path in registry.pretrained.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return name


def test_a_drawing_is_read_and_taken_back(dashboard):
    page = dashboard.pages["Draw"]
    pen(dashboard, *written(THREE))
    assert '<div class="mnb-digit">3<' in page.view.value
    page.pad.undo_button.click()
    assert "Nothing drawn" in page.view.value and page.pad.lines == []


def test_what_is_no_digit_is_said_to_be_none(dashboard):
    scribble = [[(x, y) for x in range(100, 540, 24) for y in (100, 380)]]
    pen(dashboard, *written(scribble))
    assert "Not a digit" in dashboard.pages["Draw"].view.value


def test_a_flood_of_points_makes_few_readings(home):
    async def draw():
        dashboard = Dashboard(jobs=Jobs(server=""))
        view, seen = dashboard.pages["Draw"].view, []
        view.observe(lambda change: seen.append(change.new), "value")
        for event in written(THREE * 30):
            pen(dashboard, event)
        await asyncio.sleep(0.5)
        dashboard.polling_task.cancel()
        return view.value, len(seen)

    value, updates = asyncio.run(draw())
    assert "mnb-digit" in value and 0 < updates <= 5


def test_visitors_are_apart_until_one_decides_for_all(home):
    registry = ModelRegistry()
    other = draft(registry, "20260101-000000-other")
    one, two = (Dashboard(jobs=Jobs(server="")) for _ in range(2))
    header = one.children[1]
    header.version.value = other
    assert (one.session.reader.version, two.session.reader.version) == (other, "pretrained")
    two.session.refresh()
    assert (
        two.session.reader.version == "pretrained"
        and two.children[1].promote.layout.display == "none"
    )
    header.promote.click()
    two.session.refresh()
    assert (
        registry.current() == two.session.reader.version == other
        and two.children[1].version.value == other
    )
    assert one.session.chosen is None and header.promote.layout.display == "none"


def test_without_a_model_every_page_says_so(home, monkeypatch, tmp_path):
    monkeypatch.setattr(ModelRegistry, "versions", lambda registry: [])
    dashboard = Dashboard(jobs=Jobs(server=""))
    pages = open_all(dashboard)
    pen(dashboard, *written(THREE))
    assert (
        dashboard.session.status == "missing"
        and "mnist_nb train" in dashboard.children[1].note.value
    )
    assert all(
        "mnb-problem" in part.value
        for part in (
            pages["Draw"].view,
            pages["Samples"].note,
            pages["Evaluation"].figures,
            pages["Mistakes"].note,
            pages["Play"].games["Read hard digits"].note,
        )
    )


def test_a_damaged_current_version_is_told_and_the_one_before_answers(home):
    registry = ModelRegistry()
    other = draft(registry, "20260101-000000-other")
    set_current(registry, other)
    (registry.folder / other / "model.tflite").write_bytes(b"broken")
    dashboard = Dashboard(jobs=Jobs(server=""))
    pen(dashboard, *written(THREE))
    assert dashboard.session.status == "damaged" and other in dashboard.children[1].note.value
    assert '<div class="mnb-digit">3<' in dashboard.pages["Draw"].view.value


def test_without_digits_every_page_of_them_says_so(empty_home, monkeypatch):
    monkeypatch.setenv("MNIST_NB_DATA", str(empty_home / "nowhere"))
    pages = open_all(Dashboard(jobs=Jobs(server="")))
    notes = [pages[name].note for name in ("Samples", "Mistakes")]
    notes += [pages["Play"].games["Read hard digits"].note, pages["Robustness"].score]
    assert all("nowhere" in note.value for note in notes)
    assert "An example is read as 3" in pages["Why"].title.value
    assert "An example" in pages["Compare"].title.value
    assert "<table" in pages["Evaluation"].figures.value


def test_a_second_training_is_refused_in_its_place(dashboard):
    page, jobs = open_all(dashboard)["Train"], dashboard.session.jobs
    folder = create_job_folder(jobs.folder, PRESETS["quick"], "quick", None)
    with job_lock(jobs.folder, folder.name):
        page.start.click()
        assert folder.name in page.problem.value and "already" in page.problem.value


def test_a_full_disk_is_one_sentence(dashboard, monkeypatch):
    draft(dashboard.session.registry, "20260101-000000-other")
    header = dashboard.children[1]
    header.show()
    header.version.value = "20260101-000000-other"

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    header.promote.click()
    assert (
        "No space left" in header.note.value
        and dashboard.session.registry.current() == "pretrained"
    )


def test_a_training_of_others_is_seen(dashboard):
    jobs, page = dashboard.session.jobs, open_all(dashboard)["Train"]
    folder = create_job_folder(jobs.folder, PRESETS["quick"], "quick", None)
    events = [
        {
            "kind": "job",
            "id": folder.name,
            "label": "quick",
            "config": {"epochs": 4, "time_limit": None},
            "time": 0.0,
        },
        {
            "kind": "start",
            "epochs": 4,
            "batches": 2,
            "images": 9,
            "parameters": 5,
            "first": 1,
            "time": 1.0,
        },
        {
            "kind": "batch",
            "epoch": 1,
            "batch": 1,
            "batches": 2,
            "loss": 1.5,
            "accuracy": 0.5,
            "images_per_second": 90.0,
            "time": 2.0,
        },
    ]
    with job_lock(jobs.folder, folder.name):
        (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        dashboard.session.refresh()
        assert (
            "epoch 1 of 4" in page.state.value
            and page.start.disabled
            and not page.stop.button.disabled
            and "training 12%" in dashboard.children[1].title.value
        )
        assert page.form.layout.display == "none" and page.controls.layout.display == ""
        page.controls.pause.click()
        page.stop.button.click()
        assert page.stop.button.description == "Stop it for everybody?"
        page.stop.action()
        commands = [
            json.loads(line) for line in (folder / "commands.jsonl").read_text().splitlines()
        ]
        assert [command["do"] for command in commands] == ["pause", "stop"]
        assert "stopping" in page.state.value and page.controls.layout.display == "none"
    dashboard.session.refresh()
    assert (
        "interrupted" in page.state.value
        and page.resume.layout.display == ""
        and not page.start.disabled
    )


def test_a_correction_is_seen_by_all_and_taken_back_by_its_visitor_alone(home):
    one, two = (Dashboard(jobs=Jobs(server="")) for _ in range(2))
    pages = open_all(two)
    pen(one, *written(THREE))
    bar = one.pages["Draw"].correct
    bar.labels.value = "5"
    two.session.refresh()
    assert (
        "1 to 1 of 1" in pages["Corrections"].list.position.value
        and "It is a 5" in pages["Corrections"].detail.value
    )
    two.session.corrections.forget(bar.correction_number, two.session.name)
    assert one.session.corrections.count() == 1
    bar.undo_button.click()
    assert one.session.corrections.count() == 0 and bar.labels.value is None


def test_a_damaged_file_of_corrections_is_told_and_nothing_else_suffers(dashboard):
    dashboard.session.corrections.path.parent.mkdir(parents=True, exist_ok=True)
    dashboard.session.corrections.path.write_bytes(b"no database" * 100)
    page = open_all(dashboard)["Corrections"]
    assert (
        "corrections cannot be read" in page.list.problem.value
        and "corrections cannot be read" in page.fine_tuning.plan.value
    )
    pen(dashboard, *written(THREE))
    draw = dashboard.pages["Draw"]
    draw.correct.labels.value = "5"
    assert (
        "corrections cannot be read" in draw.correct.note.value
        and '<div class="mnb-digit">3<' in draw.view.value
    )


def test_a_visitor_loads_nothing_heavy(home):
    code = (
        "import sys\nfrom mnist_nb.dashboard.app import PAGES, Dashboard\ndashboard = Dashboard()\n"
        "for name in PAGES: dashboard.tabs.value = name\n"
        f'dashboard.pages["Draw"].pad.strokes.lines += {THREE}\ndashboard.pages["Draw"].read()\n'
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_download_is_watched(home, monkeypatch):
    def slow(on_event):
        on_event({"kind": "download", "source": "mnist.npz", "done": 5e6, "total": 11e6})
        time.sleep(0.3)
        raise DataError("no network")

    async def open_page():
        page = SamplesPage(Session(jobs=Jobs(server="")))
        seen = []
        page.note.observe(lambda change: seen.append(change.new), "value")
        await asyncio.sleep(1)
        return seen

    monkeypatch.setattr("mnist_nb.dashboard.session.load_test_digits", slow)
    first, last = asyncio.run(open_page())
    assert "5.0 MB of 11.0" in first and 'aria-valuenow="45"' in first and "no network" in last


def test_what_a_version_says_of_the_test_digits_is_read_once_for_all_visitors(home, monkeypatch):
    first = Session(jobs=Jobs(server="")).test_outputs()
    monkeypatch.setattr("mnist_nb.dashboard.session.all_outputs", lambda *_: 1 / 0)
    again = Session(jobs=Jobs(server="")).test_outputs()
    assert np.array_equal(first, again) and first.shape == (10000, 11)


@pytest.mark.parametrize("page", ["", "Draw", None])
def test_an_unknown_page_is_refused(page):
    with pytest.raises(ValueError, match="dashboard"):
        Dashboard(page)


@pytest.mark.parametrize("page", ["Upload", "Sheet"])
def test_other_formats_where_the_server_was_started_with_them(home, monkeypatch, page):
    content = io.BytesIO()
    Image.fromarray(np.full((90, 120), 255, np.uint8)).save(content, "TIFF")
    for formats, refused in (("", True), ("tiff,avif", False)):
        monkeypatch.setenv("MNIST_NB_FORMATS", formats)
        shown = open_all(Dashboard(jobs=Jobs(server="")))[page]
        shown.upload.on_pictures([("scan.tif", content.getvalue(), "")])
        said = (shown.problems if page == "Upload" else shown.note).value
        assert ("scan.tif: a TIFF picture is not read here" in said) is refused
