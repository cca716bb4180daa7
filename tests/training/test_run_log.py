"""Faults of disk and folders while a run is written."""

import contextlib
import os
import resource
import shutil

import pytest

from flexae_tf.checked_files import append_jsonl, read_jsonl
from flexae_tf.errors import CorruptRunError, UsageError
from flexae_tf.training.run_log import WorkdirLog
from flexae_tf.training.workdir import Workdir


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'run'


@pytest.fixture
def log(config, straight, path):
    """The log of a run of which step 10 is finished."""
    return WorkdirLog(Workdir(path), config(), straight.method, straight.state)


@contextlib.contextmanager
def full_disk():
    """Files cannot become larger than 4 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def names(folder):
    return {path.name for path in folder.iterdir()}


def move(path):
    path.rename(path.with_name('moved'))


def move_and_replace(path):
    move(path)
    (path / 'checkpoints').mkdir(parents=True)


@pytest.mark.parametrize('lose', [shutil.rmtree, move, move_and_replace])
@pytest.mark.parametrize(
    'write',
    [
        lambda log: log.save_checkpoint(11, required=True),
        lambda log: log.save_snapshot(11, required=False),
        lambda log: log.append('stats', 11, {'loss/ae': 1.0}),
        lambda log: log.message('step 11'),
    ],
)
def test_run_log_ends_if_the_workdir_vanishes(log, synthetic, path, lose, write):
    words = 'run: was moved or removed during training.*The steps after 10 are lost'
    with pytest.raises(CorruptRunError, match=words), log.opened(synthetic):
        log.save_checkpoint(10, required=False)
        lose(path)
        write(log)
    # Nothing is written to the old place or the new one.
    assert not path.exists() or [p.name for p in path.rglob('*')] == ['checkpoints']
    moved = path.with_name('moved')
    assert not moved.exists() or not list(moved.glob('checkpoints/*-000000011.*'))


def test_run_log_makes_removed_folders_again_with_a_warning(log, synthetic, path):
    with log.opened(synthetic):
        for folder in ('checkpoints', 'samples'):
            shutil.rmtree(path / folder)
        log.save_checkpoint(10, required=False)
    text = (path / 'log.txt').read_text()
    for folder in ('checkpoints', 'samples'):
        assert f'WARNING: {path / folder}: was removed with its files; created again' in text
    with log.opened(synthetic):
        log.resume()
    assert 'resuming at step 10' in (path / 'log.txt').read_text()


def test_run_log_opens_removed_event_files_again(log, synthetic, path):
    with log.opened(synthetic):
        log.append('stats', 8, {'loss/ae': 1.0})
        shutil.rmtree(path / 'tb')
        log.append('stats', 10, {'loss/ae': 2.0})
    assert (path / 'log.txt').read_text().count('was removed; later steps are in a new') == 2
    (events,) = (path / 'tb').glob('events*')
    assert b'loss/ae' in events.read_bytes()
    assert [line['step'] for line in read_jsonl(path / 'stats.jsonl')] == [8, 10]


def test_run_log_takes_a_removed_lock_again(log, config, synthetic, path):
    other = Workdir(path)
    with log.opened(synthetic):
        (path / '.lock').unlink()
        log.message('step 10')
        with pytest.raises(UsageError, match='another process trains in it'):
            other.open(config(), synthetic)
    assert '.lock: was removed; created again' in (path / 'log.txt').read_text()
    with pytest.raises(UsageError, match='another process trains in it'), log.opened(synthetic):
        (path / '.lock').unlink()
        other.open(config(), synthetic)
        log.message('step 10')
    other.close()


def test_run_log_continues_on_a_full_disk_and_names_lost_steps(log, synthetic, path):
    with log.opened(synthetic):
        log.save_checkpoint(10, required=True)
        kept = names(path / 'checkpoints')
        with full_disk():
            log.save_checkpoint(11, required=False)
            assert names(path / 'checkpoints') == kept
            words = r'step 11 could not be written \(.*File too large\).*after 10 are lost'
            with pytest.raises(CorruptRunError, match=words):
                log.save_checkpoint(11, required=True)
    assert 'Training continues without this checkpoint' in (path / 'log.txt').read_text()
    with log.opened(synthetic):
        log.resume()
    assert 'resuming at step 10' in (path / 'log.txt').read_text()


def test_run_log_ends_if_records_cannot_be_written(log, synthetic, path):
    words = r'cannot be written any more \(File too large\).*No checkpoint is left'
    with pytest.raises(CorruptRunError, match=words), log.opened(synthetic), full_disk():
        for step in range(1, 200):
            log.append('stats', step, {'loss/ae': 1.0})


def test_run_log_reports_a_folder_that_becomes_read_only(log, synthetic, path, unprivileged):
    words = r'cannot be written any more \(Permission denied: .*run/tb\)'
    with unprivileged():
        with pytest.raises(CorruptRunError, match=words), log.opened(synthetic):
            log.message('step 10')
            for folder in (path / 'checkpoints', path):
                folder.chmod(0o555)
            log.save_checkpoint(10, required=False)
            log.append('stats', 10, {'loss/ae': 1.0})
        assert 'could not be written' in (path / 'log.txt').read_text()
        with pytest.raises(UsageError, match=r'cannot be written \(Permission denied\)'):
            log.opened(synthetic).__enter__()
        path.chmod(0o755)  # so that it can be removed


def test_run_log_compares_free_space_before_the_first_step(config, straight, synthetic, path):
    options = config(training_steps=999_999_999, snapshot_every_steps=1)
    log = WorkdirLog(Workdir(path), options, straight.method, straight.state)
    words = 'MiB free, but the run writes .* MiB of checkpoints. Free disk space, lower'
    with pytest.raises(UsageError, match=words), log.opened(synthetic):
        log.resume()


def test_run_log_says_that_it_starts_again(log, synthetic, path):
    with log.opened(synthetic):
        append_jsonl(path / 'stats.jsonl', {'step': 8, 'loss/ae': 1.0})
        log.resume()
    words = 'step 8 was recorded, but no checkpoint is left; starting at step 0 again'
    assert words in (path / 'log.txt').read_text()


def test_workdir_checks_the_configuration_under_the_lock(config, synthetic, path, monkeypatch):
    """Another process starts a run between the first check and the lock."""
    first, second = Workdir(path), Workdir(path)
    real_mkdir = os.mkdir

    def mkdir(folder, *args, **kwargs):
        real_mkdir(folder, *args, **kwargs)
        if str(folder) == str(path):
            monkeypatch.setattr(os, 'mkdir', real_mkdir)
            second.open(config(seed=1), synthetic)
            second.close()

    monkeypatch.setattr(os, 'mkdir', mkdir)
    with pytest.raises(UsageError, match='--seed=1 there, 0 now'):
        first.open(config(), synthetic)
    second.open(config(seed=1), synthetic)  # the lock is free again
    second.close()
