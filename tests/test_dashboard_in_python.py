"""The dashboard in Python: visitors apart, everything that can be missing, and how little a
visitor's kernel loads.
"""

import asyncio
import errno
import json
import subprocess
import sys

import pytest

from mnist_nb.dashboard.app import PAGES, Dashboard
from mnist_nb.model.registry import ModelRegistry, set_current
from mnist_nb.training.config import PRESETS
from mnist_nb.training.jobs import Jobs, held, new_folder

THREE = [
    [
        (230, 120),
        (290, 80),
        (360, 90),
        (390, 140),
        (350, 195),
        (295, 215),
        (350, 225),
        (405, 270),
        (400, 335),
        (340, 380),
        (270, 375),
        (225, 345),
    ]
]
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
        dashboard.following.cancel()
        return view.value, len(seen)

    value, updates = asyncio.run(draw())
    assert "mnb-digit" in value and 0 < updates <= 5


def test_visitors_are_apart_until_one_decides_for_all(home):
    registry = ModelRegistry()
    other = draft(registry, "20260101-000000-other")
    one, two = (Dashboard(jobs=Jobs(server="")) for _ in range(2))
    header = one.children[1]
    header.version.value = other
    assert (one.visit.reader.version, two.visit.reader.version) == (other, "pretrained")
    two.visit.refresh()
    assert (
        two.visit.reader.version == "pretrained"
        and two.children[1].promote.layout.display == "none"
    )
    header.promote.click()
    two.visit.refresh()
    assert (
        registry.current() == two.visit.reader.version == other
        and two.children[1].version.value == other
    )
    assert one.visit.chosen is None and header.promote.layout.display == "none"


def test_without_a_model_every_page_says_so(home, monkeypatch, tmp_path):
    monkeypatch.setattr(ModelRegistry, "versions", lambda registry: [])
    dashboard = Dashboard(jobs=Jobs(server=""))
    pages = open_all(dashboard)
    pen(dashboard, *written(THREE))
    assert (
        dashboard.visit.status == "missing" and "mnist_nb train" in dashboard.children[1].note.value
    )
    assert all(
        "mnb-problem" in part.value
        for part in (
            pages["Draw"].view,
            pages["Samples"].note,
            pages["Evaluation"].figures,
            pages["Mistakes"].note,
            pages["Play"].note,
        )
    )


def test_a_damaged_current_version_is_told_and_the_one_before_answers(home):
    registry = ModelRegistry()
    other = draft(registry, "20260101-000000-other")
    set_current(registry, other)
    (registry.folder / other / "model.tflite").write_bytes(b"broken")
    dashboard = Dashboard(jobs=Jobs(server=""))
    pen(dashboard, *written(THREE))
    assert dashboard.visit.status == "damaged" and other in dashboard.children[1].note.value
    assert '<div class="mnb-digit">3<' in dashboard.pages["Draw"].view.value


def test_without_digits_every_page_of_them_says_so(empty_home, monkeypatch):
    monkeypatch.setenv("MNIST_NB_DATA", str(empty_home / "nowhere"))
    pages = open_all(Dashboard(jobs=Jobs(server="")))
    assert all(
        "nowhere" in pages[name].note.value for name in ("Samples", "Mistakes", "Play")
    ) and all("nowhere" in pages[name].title.value for name in ("Why", "Robustness", "Compare"))
    assert "<table" in pages["Evaluation"].figures.value


def test_a_second_training_is_refused_in_its_place(dashboard):
    page, jobs = open_all(dashboard)["Train"], dashboard.visit.jobs
    folder = new_folder(jobs.folder, PRESETS["quick"], "quick", None)
    with held(jobs.folder, folder.name):
        page.start.click()
        assert folder.name in page.problem.value and "already" in page.problem.value


def test_a_full_disk_is_one_sentence(dashboard, monkeypatch):
    draft(dashboard.visit.registry, "20260101-000000-other")
    header = dashboard.children[1]
    header.show()
    header.version.value = "20260101-000000-other"

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    header.promote.click()
    assert (
        "No space left" in header.note.value and dashboard.visit.registry.current() == "pretrained"
    )


def test_a_training_of_others_is_seen(dashboard):
    jobs, page = dashboard.visit.jobs, open_all(dashboard)["Train"]
    folder = new_folder(jobs.folder, PRESETS["quick"], "quick", None)
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
    with held(jobs.folder, folder.name):
        (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        dashboard.visit.refresh()
        assert (
            "epoch 1 of 4" in page.state.value
            and page.start.disabled
            and not page.stop.disabled
            and "training 12 %" in dashboard.children[1].title.value
        )
        page.stop.click()
        assert json.loads((folder / "orders.jsonl").read_text())["do"] == "stop"
        assert page.form.layout.display == "none" and page.steering.layout.display == ""
        page.steering.pause.click()
        assert json.loads((folder / "orders.jsonl").read_text().splitlines()[-1])["do"] == "pause"
    dashboard.visit.refresh()
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
    two.visit.refresh()
    assert (
        "1 to 1 of 1" in pages["Corrections"].list.place.value
        and "It is a 5" in pages["Corrections"].detail.value
    )
    two.visit.corrections.forget(bar.kept, two.visit.name)
    assert one.visit.corrections.count() == 1
    bar.undo_button.click()
    assert one.visit.corrections.count() == 0 and bar.labels.value is None


def test_a_damaged_file_of_corrections_is_told_and_nothing_else_suffers(dashboard):
    dashboard.visit.corrections.path.parent.mkdir(parents=True, exist_ok=True)
    dashboard.visit.corrections.path.write_bytes(b"no database" * 100)
    page = open_all(dashboard)["Corrections"]
    assert (
        "corrections cannot be read" in page.list.problem.value
        and "corrections cannot be read" in page.lesson.plan.value
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


@pytest.mark.parametrize("page", ["", "Draw", None])
def test_an_unknown_page_is_refused(page):
    with pytest.raises(ValueError, match="dashboard"):
        Dashboard(page)
