"""Trainings as jobs, in real processes: one at a time, stopped, interrupted, killed, and gone on
with.
"""

import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from mnist_nb import train_version
from mnist_nb.core import TrainingError, home_folder
from mnist_nb.model.registry import ModelRegistry
from mnist_nb.training import pipeline
from mnist_nb.training.config import TrainingConfig
from mnist_nb.training.jobs import (
    FINAL_EVENTS,
    JobRunning,
    Jobs,
    create_job_folder,
    read_events,
    running_job_id,
)
from tests.serving import ENDINGS

BOUND = 90
STARTER = """
import sys
from mnist_nb.training.jobs import Jobs, JobRunning
jobs = Jobs()
try: print('started', jobs.start('quick').id, flush=True)
except JobRunning as e: print('running', e.job_id, flush=True)
sys.stdin.read()
"""


def wait_until(condition, seconds=BOUND):
    "Wait for something to be true, and return it."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"not within {seconds} seconds")


def kinds(job):
    return [event["kind"] for event in read_events(job)[0]]


def wait_for_event(job, kind):
    return wait_until(lambda: kind in kinds(job))


def wait_for_end(job):
    "A job, once its process has ended."
    wait_until(lambda: Jobs().get(job).status != "running")
    return Jobs().get(job)


@pytest.fixture
def jobs(home):
    "Jobs in a new home, whose child is gone at the end."
    jobs = Jobs(server="")
    yield jobs
    jobs.close()


@pytest.fixture
def starters():
    "Starts processes that start a training, and ends them."
    processes = []

    def start(n=1):
        new = [
            subprocess.Popen(
                [sys.executable, "-c", STARTER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(n)
        ]
        processes.extend(new)
        return new

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def trainings(parent=None):
    "The child processes that train."
    found = []
    for child in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [child] * ("train" in child.cmdline())
    return found


def test_35_many_threads_start_one_training(jobs):
    def start(_):
        try:
            return "started", jobs.start("quick").id
        except JobRunning as e:
            return "running", e.job_id

    with ThreadPoolExecutor(10) as pool:
        results = [*pool.map(start, range(10))]
    (started_id,) = [job_id for outcome, job_id in results if outcome == "started"]
    assert {job_id for _, job_id in results} == {started_id} and len(trainings()) == 1
    assert [job.id for job in jobs.list()] == [started_id]
    assert jobs.running().id == jobs.latest().id == started_id


def test_35_many_processes_start_one_training(home, starters):
    processes = starters(3)
    results = [process.stdout.readline().split() for process in processes]
    assert sorted(outcome for outcome, _ in results) == ["running", "running", "started"]
    assert len({job_id for _, job_id in results}) == 1
    assert sum(len(trainings(process.pid)) for process in processes) == 1


def test_38_parent_killed(home, starters):
    (parent,) = starters()
    _, job = parent.stdout.readline().split()
    (child,) = trainings(parent.pid)
    parent.kill()
    gone, left = psutil.wait_procs([child], timeout=10)
    assert not left
    job = wait_for_end(job)
    assert (
        job.status == "interrupted"
        and job.resumable
        and running_job_id(home_folder() / "jobs") == ""
    )


def test_49_child_killed(jobs):
    job = jobs.start("quick")
    (child,) = trainings()
    with open(jobs.folder / job.id / "log.txt", "a") as log:
        log.write("the last thing it said\n")
    child.kill()
    job = wait_until(lambda: (found := jobs.get(job.id)).status == "failed" and found)
    assert (
        job.error.startswith("its process ended with code")
        and "the last thing it said" in job.log
        and job.version is None
        and jobs.running() is None
        and Jobs().get(job.id).status == "failed"
    )
    assert ModelRegistry().current() == "pretrained"


def test_38_child_told_to_end(jobs):
    job = jobs.start("quick")
    (child,) = trainings()
    child.send_signal(ENDINGS[0])
    assert wait_for_end(job.id).status == "interrupted" and kinds(job.id)[-1] == "interrupted"


def test_38_closed(jobs):
    job = jobs.start("quick")
    jobs.close()
    assert not trainings()
    assert Jobs().get(job.id).status == "interrupted"


def test_49_debris_of_a_killed_command(home, program, command, one_line):
    process = subprocess.Popen(
        [program, "train", "--preset", "quick"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running = wait_until(Jobs().running)
    assert running.id in one_line(command("train", "--preset", "full"), TrainingError.exit_code)
    with pytest.raises(JobRunning) as caught:
        train_version(TrainingConfig())
    assert caught.value.job_id == running.id and [job.id for job in Jobs().list()] == [running.id]
    process.kill()
    process.wait()
    seen = [Jobs().get(running.id) for _ in range(2)]
    assert (
        seen[0] == seen[1]
        and seen[0].status == "interrupted"
        and seen[0].resumable
        and "without a word" in seen[0].error
    )
    assert kinds(running.id).count("interrupted") == 1


def test_38_interrupted_resumed_stopped_and_kept(jobs, command):
    """The whole life of a training: closed before it began, gone on with by another process,
    stopped from a third, and kept.
    """
    changes = {"seed": 3, "non_digits": 0.0, "evaluation_digits": 200}
    first = jobs.start("quick", changes, use=False)
    jobs.close()
    again = jobs.resume()
    assert again.id == first.id and again.config["seed"] == 3 and again.status == "running"
    wait_for_event(first.id, "batch")
    running = wait_until(lambda: (job := Jobs().get(first.id)).progress > 0 and job)
    assert running.status == "running" and 0 < running.progress < 1
    assert json.loads(command("stop", "--json").stdout) == {"job": first.id}
    wait_for_event(first.id, "kept")
    job = Jobs().get(first.id)
    assert (
        job.status == "stopped"
        and not job.resumable
        and job.version in ModelRegistry().versions()
        and job.result["test_accuracy"] > 0
    )
    assert ModelRegistry().current() == "pretrained" and not job.result["current"]
    event_kinds = kinds(first.id)
    assert event_kinds[:2] == ["job", "interrupted"] and event_kinds[-1] == "kept"
    assert [*dict.fromkeys(event_kinds)][-4:] == ["end", "saved", "evaluation", "kept"]
    wait_until(lambda: Jobs().running() is None)
    assert command("stop").stdout == "no training is running\n"
    with pytest.raises(TrainingError, match="no training to resume"):
        jobs.resume()
    json.dumps(job.as_dict(), allow_nan=False)


def test_37_wrong_parameters_start_nothing(jobs):
    for changes in (
        {"epochs": 0},
        {"schedule": "x"},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
    ):
        with pytest.raises(ValueError, match="expected"):
            jobs.start("quick", changes)
    with pytest.raises(ValueError, match="preset"):
        jobs.start("best")
    assert not jobs.list() and not trainings()


def test_49_a_child_that_cannot_begin(jobs, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(TrainingError, match="could not begin"):
        jobs.start("quick")
    assert not jobs.list() and [path.name for path in jobs.folder.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    "error, text, code",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full", "disk_full"),
        (MemoryError(), "MemoryError", "failed"),
        (TrainingError("the loss is not a number, see /home/me/jobs/x"), "see x", "failed"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_40_48_a_training_that_fails(home, monkeypatch, mnist, error, text, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(pipeline, "make_version", fail)
    with pytest.raises(type(error)):
        train_version(TrainingConfig(), "doomed", mnist=mnist)
    (job,) = Jobs().list()
    assert (
        job.status == "failed"
        and text in job.error
        and "/home" not in job.error
        and not job.resumable
    )
    assert read_events(job.id)[0][-1]["code"] == code and Jobs().running() is None


def test_40_a_disk_that_takes_no_event(home, monkeypatch, mnist):
    "No event can be written; the job counts as interrupted, and its lock is free."

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(*_, **__):
        monkeypatch.setattr("mnist_nb.training.jobs.open", full, raising=False)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline, "make_version", fill)
    with pytest.raises(OSError):
        train_version(TrainingConfig(), "full", mnist=mnist)
    monkeypatch.undo()
    monkeypatch.setenv("MNIST_NB_HOME", str(home))
    assert Jobs().latest().status == "interrupted" and Jobs().running() is None


def test_two_of_a_second_share_no_folder(home):
    folders = [
        create_job_folder(home_folder() / "jobs", TrainingConfig(), "quick", None) for _ in range(5)
    ]
    assert len(set(folders)) == 5 and all((folder / "job.json").is_file() for folder in folders)


@pytest.mark.parametrize(
    "job", ["", ".", "..", "../jobs", ".lock", "x/../y", "/etc", "C:\\", "\0", "a" * 5000]
)
def test_an_id_is_no_path(home, job):
    (home_folder() / "events.jsonl").parent.mkdir(parents=True)
    (home_folder() / "events.jsonl").write_text('{"kind": "job"}\n')
    for read in (read_events, Jobs().get, Jobs().events):
        with pytest.raises(TrainingError, match="no training"):
            read(job)


def test_a_follower_gets_every_event_once(home):
    folder = create_job_folder(home_folder() / "jobs", TrainingConfig(), "followed", None)
    code = (
        "import sys; from pathlib import Path; from mnist_nb.training.jobs import append_record\n"
        "for n in range(300): append_record(Path(sys.argv[1]), dict(kind='x', n=n))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder / "events.jsonl")])
    seen = []
    start = 0
    while process.poll() is None or read_events(folder, start)[0]:
        events, start = read_events(folder, start)
        seen += [event["n"] for event in events]
    assert process.returncode == 0 and seen == [*range(300)]
    assert start == os.path.getsize(folder / "events.jsonl") and set(FINAL_EVENTS) == {
        "kept",
        "failed",
        "interrupted",
    }
