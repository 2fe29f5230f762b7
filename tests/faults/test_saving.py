"""Whatever is written is there whole or not at all, whenever the writer is killed; a training that comes to nothing changes nothing."""
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from mnist_nb.core import TrainingError
from mnist_nb.inference import Reader
from mnist_nb.jobs import Jobs, train_version
from mnist_nb.store import Store
from mnist_nb.training import TrainingConfig

KILLS = int(os.environ.get('MNIST_NB_KILLS', 5))
SAVING = """
import shutil
from mnist_nb.store import Store, add_version, use_version
store = Store()
while True:
    use_version(store, add_version(store, 'copy', lambda folder: shutil.copytree(store.pretrained, folder, dirs_exist_ok=True)))
    print('.', flush=True)
    for old in {*store.versions()[1:]} - {store.current()}: shutil.rmtree(store.folder/old)
"""


def test_39_killed_while_saving(home):
    "MNIST_NB_KILLS says how often; 50 in the long form."
    for number in range(KILLS):
        process = subprocess.Popen([sys.executable, '-c', SAVING], stdout=subprocess.PIPE)
        assert process.stdout.read(1) == b'.'
        time.sleep(random.Random(number).random()*.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        store = Store()
        assert store.current() in store.versions() and Reader.load().read_strokes([[(10, 10), (60, 10), (30, 90)]]).digit == 7
    last = subprocess.Popen([sys.executable, '-c', SAVING], stdout=subprocess.PIPE)
    assert last.stdout.read(1) == b'.'
    last.kill()
    last.communicate()
    assert len([path for path in Store().folder.glob('.new-*')]) <= 1


def test_48_a_loss_that_is_no_number(home, mnist, monkeypatch):
    few = replace(mnist, train_images=mnist.train_images[:6000], train_labels=mnist.train_labels[:6000])
    monkeypatch.setattr('mnist_nb.training.Learner.learn', lambda *_: (float('nan'), 0))
    with pytest.raises(TrainingError, match='the loss is not a number'): train_version(TrainingConfig(epochs=1), 'diverging', mnist=few)
    job = Jobs().latest()
    assert job.status == 'failed' and 'not a number' in job.error
    assert Store().versions() == ['pretrained'] == [Store().current()]


def test_48_a_worse_version_is_kept_and_not_used(home, mnist):
    few = replace(mnist, train_images=mnist.train_images[:5600], train_labels=mnist.train_labels[:5600])
    kept = train_version(TrainingConfig(epochs=1, dense=8), 'worse', mnist=few)
    assert not kept.current and Store().current() == 'pretrained' and kept.version in Store().versions()


def test_41_home_that_cannot_be_written(home, command, one_line, tmp_path, monkeypatch, picture):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('MNIST_NB_HOME', str(tmp_path/'file'))
    line = one_line(command('models', 'use', 'pretrained'), 1)
    assert 'MNIST_NB_HOME' in line and str(tmp_path/'file') in line
    assert command('predict', picture).stdout.startswith(f'{picture}: 7 (')
