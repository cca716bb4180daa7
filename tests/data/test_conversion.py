import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import conversion, memory
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.files import lock
from flexae_tf.methods import resolve
from flexae_tf.training.trainer import Trainer
from tests.conftest import ROOT

SPLITS = ('train', 'validation', 'test')


def write_images(folder, num, size=9):
    """Writes PNG files in train and test with two classes; every seventh has 16 bits."""
    rng = np.random.default_rng(0)
    for i in range(num):
        path = folder / ('test' if i % 4 == 3 else 'train') / 'ab'[i // 2 % 2] / f'{i:04}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        dtype = np.uint16 if i % 7 == 0 else np.uint8
        image = rng.integers(0, 1 + np.iinfo(dtype).max, [size, size + 1, 3], dtype)
        path.write_bytes(tf.io.encode_png(image).numpy())


def options(folder, **changes):
    defaults = dict(batch_size=8, image_size=8, workdir=str(folder.parent / 'run'))
    return TrainConfig(dataset='folder', data_dir=str(folder), **defaults | changes)


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / 'images', 80)
    return tmp_path / 'images'


@pytest.fixture
def converted(folder):
    """`converted(**options)`: the data set, read from disk."""
    return lambda **changes: data.load(
        options(folder, converted_dir=str(folder.parent / 'converted'), **changes)
    )


def rows_of(folder):
    (path,) = (folder.parent / 'converted').glob('*.rows')
    return path


def assert_equal(stored, in_memory):
    assert stored.spec == in_memory.spec
    for name in SPLITS:
        a, b = getattr(stored, name), getattr(in_memory, name)
        assert isinstance(a.x, StoredRows) and isinstance(b.x, np.ndarray)
        np.testing.assert_array_equal(a.x[:], b.x)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert data.fingerprint(a.x) == data.fingerprint(b.x)


@pytest.mark.parametrize('changes', [{}, {'channels': 1, 'train_examples': 20}])
def test_converted_images_equal_the_images_in_memory(folder, converted, changes):
    assert_equal(converted(**changes), data.load(options(folder, **changes)))


def test_convert_opens_a_finished_conversion(folder, converted, capsys):
    first = converted()
    path = rows_of(folder)
    assert f'converting 80 of 80 images into {path}' in capsys.readouterr().out
    before = path.stat().st_mtime_ns
    path.parent.chmod(0o500)
    try:
        again = converted()
    finally:
        path.parent.chmod(0o700)
    assert 'converting' not in capsys.readouterr().out and path.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.train.x[:], first.train.x[:])


def test_training_is_bit_identical_with_and_without_conversion(tmp_path, short_networks):
    write_images(tmp_path / 'images', 80, size=28)
    states = []
    for changes in ({}, {'converted_dir': str(tmp_path / 'converted')}):
        config = options(
            tmp_path / 'images',
            **dict(method='vae', image_size=28, channels=1, deterministic=True, workdir=None),
            **changes,
        )
        config = resolve(config, data.describe(config))
        trainer = Trainer(config, data.load(config))
        assert trainer.run_steps(tf.constant(0, tf.int64), tf.constant(3, tf.int64)) == 3
        states.append([v.numpy() for v in (*trainer.method.state, *trainer.state)])
    assert len(states[0]) > 10
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)
    rows_of(tmp_path / 'images').write_bytes(b'')
    with pytest.raises(MissingDataError, match=r'\.rows: truncated\. Rerun'):
        trainer._run(3, 2)


KILLED = """
import os, signal, sys
from flexae_tf.environment import import_tensorflow
import_tensorflow()
from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import conversion, decoding

def killed(*args, **options):
    for k, image in decode_files(*args, **options):
        yield k, image
        if k >= 30:
            os.kill(os.getpid(), signal.SIGKILL)

decode_files, decoding.decode_files, conversion.BLOCK = decoding.decode_files, killed, 8
folder = sys.argv[1]
data.load(TrainConfig(dataset='folder', data_dir=folder + '/images', image_size=8, batch_size=8,
                      converted_dir=folder + '/converted', workdir=folder + '/run'))
"""


def test_convert_continues_after_a_kill(folder, converted, capsys):
    for name in ('train/a/0004.png', 'train/b/0030.png', 'test/b/0055.png'):
        path = folder / name  # the first two are before the kill, the last after it
        path.write_bytes(path.read_bytes()[:90])
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', KILLED, folder.parent], env=environment)
    assert done.returncode == -signal.SIGKILL
    record = json.loads(rows_of(folder).with_suffix('.json').read_text())
    assert record['finished'] in range(24, 31)
    stored = converted(skip_bad_images=True)
    output = capsys.readouterr().out
    assert f'converting {80 - record["finished"]} of 80 images into' in output
    assert f'3 unreadable images of {folder} skipped' in output
    assert_equal(stored, data.load(options(folder, skip_bad_images=True)))


def test_convert_remembers_unreadable_images(folder, converted, capsys):
    bad = [folder / 'train/a/0004.png', folder / 'test/b/0003.png']
    bad[0].write_bytes(bad[0].read_bytes()[:90])
    bad[1].write_bytes(b'')
    for _ in range(2):
        with pytest.raises(MissingDataError, match='^2 files: .*0003.png.*, or use --skip_bad'):
            converted()
    assert capsys.readouterr().out.count('converting') == 1
    listed = (folder.parent / 'run' / 'bad_images.txt').read_text()
    stored = converted(skip_bad_images=True)
    assert 'converting' not in capsys.readouterr().out
    assert (folder.parent / 'run' / 'bad_images.txt').read_text() == listed
    assert_equal(stored, data.load(options(folder, skip_bad_images=True)))


def test_convert_repeats_for_a_changed_folder(folder, converted):
    converted()
    os.utime(folder / 'train/a/0004.png', (1, 1))
    converted()
    converted(channels=1)
    assert len(list((folder.parent / 'converted').glob('*.rows'))) == 3


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def change_record(path):
    path = path.with_suffix('.json')
    path.write_text(path.read_text().replace('80', '79'))


def remove_rows(path):
    path.unlink()


@pytest.mark.parametrize('change', [truncate, change_record, remove_rows])
def test_convert_repeats_a_changed_conversion(folder, converted, change, capsys):
    first = converted().train.x[:]
    change(rows_of(folder))
    capsys.readouterr()
    np.testing.assert_array_equal(converted().train.x[:], first)
    output = capsys.readouterr().out
    assert f'{rows_of(folder)}: changed since it was written. Converting again.' in output
    assert 'converting 80 of 80 images' in output


def test_convert_waits_for_another_process(folder, converted, capsys):
    converted()
    record = rows_of(folder).with_suffix('.json')
    finished = record.read_bytes()
    record.unlink()
    with rows_of(folder).open('r+b') as file:
        lock(file)

        def finish():
            record.write_bytes(finished)
            file.close()

        threading.Timer(0.5, finish).start()
        capsys.readouterr()
        converted()
    output = capsys.readouterr().out
    assert 'waiting for another process that converts' in output
    assert 'converting 80' not in output


def test_convert_needs_no_memory_for_the_images(folder, converted, monkeypatch):
    monkeypatch.setattr(memory, 'available', lambda: 20_000)
    with pytest.raises(UsageError, match='80 images of 8x8: .* Train with --converted_dir=DIR'):
        data.load(options(folder))
    assert len(converted().train) == 54


def test_convert_refuses_a_full_disk_first(folder, converted, monkeypatch):
    usage = shutil.disk_usage(folder)._replace(free=80 * 192 - 1)
    monkeypatch.setattr(conversion.shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(UsageError, match='--converted_dir=.*: 0.0 GiB needed, 0.0 GiB free'):
        converted()
    monkeypatch.undo()
    assert len(converted().train) == 54
