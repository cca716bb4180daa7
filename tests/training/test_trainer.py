import dataclasses
import json
import operator
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import flexae_tf
from flexae_tf.checked_files import read_json, read_jsonl
from flexae_tf.errors import (
    CorruptRunError,
    Interrupted,
    MissingDataError,
    NonFiniteLossError,
    UsageError,
)
from flexae_tf.files import tensorflow_path
from flexae_tf.training import event_files
from flexae_tf.training.checkpoints import Checkpoints
from flexae_tf.training.restore import stores
from flexae_tf.training.trainer import Trainer
from flexae_tf.training.workdir import Workdir
from tests.conftest import ROOT
from tests.training.conftest import assert_equal_states, remove_checkpoint, train


def test_trainer_is_deterministic_given_the_seed(config, synthetic, straight):
    assert_equal_states(straight, train(config(), synthetic))
    first, other = (Trainer(config(seed=s), synthetic).method.encoder.weights[0] for s in (0, 1))
    assert not np.array_equal(first, other)


def test_trainer_resumes_exactly(config, synthetic, straight, tmp_path):
    train(config(workdir=str(tmp_path / 'b'), training_steps=6), synthetic)
    resumed = train(config(workdir=str(tmp_path / 'b')), synthetic)
    log = (tmp_path / 'b' / 'log.txt').read_text()
    assert 'resuming at step 6' in log and 'step  8/10' in log and 'step  6/10' not in log
    assert_equal_states(straight, resumed)
    first, second = (
        read_jsonl(pathlib.Path(name) / 'stats.jsonl')
        for name in (straight.config.workdir, tmp_path / 'b')
    )
    # The shorter run sampled at its own end; everything else is the same, line by line.
    assert [r['step'] for r in first] == [2, 4, 5, 6, 8, 10]
    for a, b in zip(first, second, strict=True):
        assert {k: b[k] for k in a} == a


def test_trainer_resumes_exactly_within_a_log_interval(config, synthetic, straight, run):
    before = (run / 'stats.jsonl').read_text()
    remove_checkpoint(run, 10)  # the run ended and logged there; the previous one is of step 9
    resumed = train(config(workdir=str(run)), synthetic)
    assert 'resuming at step 9' in (run / 'log.txt').read_text()
    assert_equal_states(straight, resumed)
    assert (run / 'stats.jsonl').read_text() == before
    events = read_events(run / 'tb')
    for tag in events.Tags()['tensors']:
        steps = [event.step for event in events.Tensors(tag)]
        assert steps == sorted(set(steps)), tag  # the resumed run replaces the events after 9
    assert [event.step for event in events.Tensors('loss/ae')] == [2, 4, 6, 8, 10]
    assert [event.step for event in events.Tensors('perf/checkpoint_seconds')] == [3, 6, 9, 10]


def read_events(folder):
    """Returns the events of a folder as TensorBoard reads them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_trainer_resumes_exactly_on_images(config, tmp_path, short_networks):
    images = flexae_tf.load_dataset(config(dataset='digits', validation_examples=20))
    options = dict(dataset='digits', critic_steps=1, batch_size=4, training_steps=4)
    options |= dict(validation_examples=20, sample_every_steps=1000, save_every_steps=2)
    straight = train(config(workdir=str(tmp_path / 'a'), **options), images)
    names = {path.name for path in (tmp_path / 'a' / 'samples').iterdir()}
    kinds = ('fakes', 'recon', 'interp')
    assert names == {'reals.png', *(f'{kind}_{step:09d}.png' for kind in kinds for step in (0, 4))}
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    remove_checkpoint(tmp_path / 'b', 4)
    resumed = train(config(workdir=str(tmp_path / 'b'), **options), images)
    assert_equal_states(straight, resumed)


def test_trainer_with_zero_steps_keeps_initial_weights(config, synthetic, straight, tmp_path):
    initial = Trainer(config(), synthetic)
    kept = train(config(workdir=str(tmp_path), training_steps=0), synthetic)
    assert_equal_states(initial, kept)
    loaded = flexae_tf.load_run(tmp_path)
    for a, b in zip(initial.method.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    # Training can start in the same workdir.
    assert_equal_states(straight, train(config(workdir=str(tmp_path)), synthetic))


def test_trainer_accepts_a_workdir_whose_name_is_not_utf_8(config, synthetic, tmp_path):
    run = tmp_path / os.fsdecode(b'caf\xe9 [1]')
    train(config(workdir=str(run), training_steps=0), synthetic)
    assert len(flexae_tf.load_run(run).sample(2, seed=0)) == 2
    with tensorflow_path(run / 'tb') as folder:
        config_text = read_events(folder).Tensors('config')[0].tensor_proto
    assert b'caf\\udce9 [1]' in config_text.string_val[0]


def test_trainer_without_checkpoint_but_with_snapshot_does_not_restart(
    config, synthetic, straight, run, tmp_path
):
    options = config(workdir=str(run))
    train(options, synthetic)  # does nothing, but config.json now has this workdir
    for path in (run / 'checkpoints').glob('ckpt-*'):
        path.unlink()
    kept = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    with pytest.raises(CorruptRunError, match='a snapshot of step 10, but no checkpoint'):
        Trainer(options, synthetic).train()
    now = {path: path.read_bytes() for path in kept if path.name not in ('.lock', 'log.txt')}
    assert now.items() <= kept.items() and read_jsonl(run / 'stats.jsonl')
    # The weights can still be sampled and evaluated.
    loaded = flexae_tf.load_run(run)
    np.testing.assert_array_equal(loaded.sample(4, seed=3), straight.method.sample(4, seed=3))
    # A run killed before its first checkpoint was due may have snapshots only.
    for path in (run / 'checkpoints').glob('weights-000000010*'):
        path.unlink()
    train(dataclasses.replace(options, save_every_steps=5), synthetic)


def test_trainer_writes_files_checkpoints_and_tags(config, synthetic, tmp_path):
    trainer = train(config(workdir=str(tmp_path / 'run'), eval_every_steps=5), synthetic)
    run = tmp_path / 'run'
    files = {path.name for path in run.iterdir()}
    assert files >= {'config.json', 'flags.txt', 'environment.json', 'log.txt', 'stats.jsonl'}
    assert {p.name for p in (run / 'checkpoints').glob('*.manifest.json')} == {
        *(f'ckpt-{step:09d}.manifest.json' for step in (6, 9, 10)),
        *(f'weights-{step:09d}.manifest.json' for step in (5, 10)),
    }
    events = read_events(run / 'tb')
    tags = set(events.Tags()['tensors'])
    assert tags >= {'perf/tflops', 'resources/cpu_mem_gb'}
    assert tags >= {*trainer.method.tags, 'validation/ae', 'latent/z_rank', 'latent/z_hat_rank'}
    assert tags >= {'latent/z', 'latent/z_hat', 'config', 'custom_scalars__config__'}
    assert tags >= {'perf/steps_per_sec', 'perf/checkpoint_seconds', 'perf/snapshot_seconds'}
    metadata = events.SummaryMetadata('metrics/fd_vectors_200_gen')
    assert re.match(r'Protocol [0-9a-f]{8} \(standard\): dataset=', metadata.summary_description)
    assert [e.step for e in events.Tensors('loss/ae')] == [2, 4, 6, 8, 10]
    stats = read_jsonl(run / 'stats.jsonl')
    logged = tf.make_ndarray(events.Tensors('loss/ae')[0].tensor_proto)
    assert stats[0]['loss/ae'] == pytest.approx(float(logged), rel=1e-6)
    perf = read_jsonl(run / 'perf.jsonl')
    assert all(line['perf/steps_per_sec'] > 0 and line['perf/tflops'] > 0 for line in perf)


def test_trainer_logs_mean_losses_of_each_interval(config, synthetic, straight, tmp_path):
    every = train(config(workdir=str(tmp_path), log_every_steps=1), synthetic)
    one, two = (
        [line['loss/ae'] for line in read_jsonl(folder / 'stats.jsonl') if 'loss/ae' in line]
        for folder in (tmp_path, pathlib.Path(straight.config.workdir))
    )
    np.testing.assert_allclose(two, np.reshape(one, [5, 2]).mean(1), rtol=1e-6)
    assert every.run_steps.experimental_get_tracing_count() == 1


def test_trainer_without_workdir_prints_and_writes_nothing(
    config, synthetic, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    train(config(), synthetic)
    said = capsys.readouterr().out
    assert 'step 10/10' in said and said.count('steps/s') == 5
    assert not list(tmp_path.iterdir())


def test_trainer_stops_at_non_finite_loss_and_keeps_checkpoint(config, synthetic, run, monkeypatch):
    before = sorted(p.name for p in (run / 'checkpoints').iterdir())
    longer = config(workdir=str(run), training_steps=14)
    trainer = Trainer(longer, synthetic)
    healthy = trainer.method.train_step

    def diverging(batches, step):
        values = healthy(batches, step)
        values['loss/gen'] *= tf.where(step == 11, np.nan, 1.0)
        return values

    monkeypatch.setattr(trainer.method, 'train_step', diverging)
    with pytest.raises(
        NonFiniteLossError, match=r'loss/gen: not finite at step 11.*step 10 is kept'
    ):
        trainer.train()
    assert sorted(p.name for p in (run / 'checkpoints').iterdir()) == before
    schema = dict(step=int, seed=int, not_finite=[str], batch_indices=[[int]])
    record = read_json(run / 'nonfinite.json', schema)
    indices = trainer._batches.indices(tf.constant(11, tf.int64)).numpy().tolist()
    assert record == dict(step=11, seed=0, not_finite=['loss/gen'], batch_indices=indices)
    assert np.shape(indices) == (2, 16)
    train(longer, synthetic)  # the run can be resumed
    assert not (run / 'nonfinite.json').exists()


@pytest.mark.parametrize('part', ['encoder.trainable_variables', 'ae_optimizer.variables'])
def test_trainer_stops_at_variable_that_is_not_finite(config, synthetic, run, monkeypatch, part):
    # No loss shows it: a moment of the optimizer, or the update of a weight in the last iteration.
    trainer = Trainer(config(workdir=str(run), training_steps=12), synthetic)
    healthy = trainer.method.train_step
    variable = operator.attrgetter(part)(trainer.method)[-1]

    def diverging(batches, step):
        values = healthy(batches, step)
        variable.assign(tf.where(step == 11, np.inf, variable))
        return values

    monkeypatch.setattr(trainer.method, 'train_step', diverging)
    with pytest.raises(NonFiniteLossError, match=f'^{variable.path}: not finite at step 11'):
        trainer.train()
    assert json.loads((run / 'nonfinite.json').read_text())['not_finite'] == [variable.path]
    assert not (run / 'checkpoints' / 'ckpt-000000012.manifest.json').exists()


def test_trainer_does_not_resume_from_variables_that_are_not_finite(config, synthetic, run):
    # An earlier version may have saved such a checkpoint.
    longer = config(workdir=str(run), training_steps=12)
    trainer = Trainer(longer, synthetic)
    trainer.state.step.assign(11)
    variable = trainer.method.encoder.variables[0]
    variable.assign(tf.fill(variable.shape, np.nan))
    checkpoints, _ = stores(Workdir(run), longer, trainer.method, trainer.state)
    checkpoints.save(11)
    with pytest.raises(NonFiniteLossError, match=f'^{variable.path}: not finite at step 10'):
        Trainer(longer, synthetic).train()
    assert not (run / 'checkpoints' / 'ckpt-000000012.manifest.json').exists()


def test_trainer_stops_at_output_that_is_not_finite(config, synthetic, tmp_path):
    trainer = Trainer(config(workdir=str(tmp_path), sample_every_steps=1), synthetic)
    trainer.method.prior.sample = lambda num, seed: tf.fill([num, 2], np.inf)
    with pytest.raises(NonFiniteLossError, match='^latent/z_hat: not finite at step 0'):
        trainer.train()
    assert not list((tmp_path / 'checkpoints').iterdir())


def test_trainer_replays_only_steps_that_checkpoints_allow(
    config, synthetic, run, tmp_path, capsys
):
    trainer = Trainer(config(workdir=str(run)), synthetic)
    with pytest.raises(UsageError, match='--replay_step=4: the oldest checkpoint is of step 6'):
        trainer.replay(4)
    trainer.replay(7)
    assert 'from step 6\nsteps 6 to 7: all values are finite' in capsys.readouterr().out
    trainer = Trainer(config(workdir=str(tmp_path / 'none')), synthetic)
    with pytest.raises(MissingDataError, match='none: holds no run'):
        trainer.replay(0)


def test_trainer_divergence_is_exit_code_5_and_can_be_replayed(
    refused_here, here, tmp_path, capsys
):
    run = tmp_path / 'run'
    flags = ['--dataset=synthetic_2d', f'--workdir={run}', '--ae_learning_rate=1e30']
    flags += ['--critic_steps=1', '--training_steps=50']
    refused_here(5, ['not finite', 'learning rates', '--replay_step=0'], 'train', *flags)
    assert not list((run / 'checkpoints').iterdir())
    # The cause of the failure, without writing anything.
    before = {path: path.stat().st_mtime_ns for path in run.rglob('*')}
    capsys.readouterr()
    here('train', *flags, '--replay_step=3')
    said = capsys.readouterr().out
    assert 'not finite at step 0 (seed 0)' in said
    # Only the auto-encoder step has such a rate, and the critic steps encode after it.
    assert 'first value that is not finite: MatMul of encoder/' in said
    assert f'{ROOT}/flexae_tf/methods/flexae.py:' in said and 'z = self.encoder(' in said
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob('*')}


def test_trainer_continues_with_full_disk_but_needs_last_checkpoint(
    config, synthetic, tmp_path, monkeypatch
):
    trainer = Trainer(config(workdir=str(tmp_path / 'run'), snapshot_every_steps=0), synthetic)
    tried = []

    def full(self, step):
        tried.append(step)
        raise CorruptRunError('disk full.')

    monkeypatch.setattr(Checkpoints, 'save', full)
    with pytest.raises(CorruptRunError):
        trainer.train()
    assert tried == [3, 6, 9, 10]
    log = (tmp_path / 'run' / 'log.txt').read_text()
    assert 'WARNING: disk full. Training continues' in log


def test_trainer_reports_disk_filled_by_tensorboard(config, synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr(event_files, 'new_name', lambda: 'events.out.tfevents.full')
    (tmp_path / 'run' / 'tb').mkdir(parents=True)
    (tmp_path / 'run' / 'tb' / 'events.out.tfevents.full').symlink_to('/dev/full')
    trainer = Trainer(config(workdir=str(tmp_path / 'run')), synthetic)
    message = r'run: cannot be written any more \(.*No space left on device\)\. Free disk space'
    with pytest.raises(CorruptRunError, match=message):
        trainer.train()


def test_trainer_writes_snapshot_before_checkpoint(config, synthetic, tmp_path, monkeypatch):
    save, saved = Checkpoints.save, []

    def recorded(self, step):
        before = set((tmp_path / 'checkpoints').iterdir())
        save(self, step)
        new = set((tmp_path / 'checkpoints').iterdir()) - before
        saved.append((step, {path.name.split('-')[0] for path in new}))

    monkeypatch.setattr(Checkpoints, 'save', recorded)
    train(config(workdir=str(tmp_path), snapshot_every_steps=6), synthetic)
    assert saved.index((6, {'weights'})) < saved.index((6, {'ckpt'}))


def test_trainer_writes_environment_only_if_it_trains(config, synthetic, run):
    path = run / 'environment.json'
    path.write_text('{"device": "elsewhere"}')
    train(config(workdir=str(run)), synthetic)  # nothing to do
    assert path.read_text() == '{"device": "elsewhere"}'
    train(config(workdir=str(run), training_steps=12), synthetic)
    assert 'elsewhere' not in path.read_text()


def test_trainer_accepts_a_dozen_images(config, tmp_path, short_networks):
    images = np.random.RandomState(0).randint(0, 256, [12, 16, 16, 3]).astype(np.uint8)
    np.savez(tmp_path / 'few.npz', images=images)
    options = dict(dataset='folder', data_dir=str(tmp_path / 'few.npz'))
    options |= dict(validation_examples=2, batch_size=2, training_steps=1, network='mnist')
    options |= dict(workdir=str(tmp_path / 'run'))
    train(config(**options), flexae_tf.load_dataset(config(**options)))
    assert (tmp_path / 'run' / 'samples' / 'recon_000000001.png').exists()


def test_trainer_reports_too_little_memory(config, synthetic, run, monkeypatch):
    trainer = Trainer(config(), synthetic)

    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, 'OOM')  # like a full GPU

    monkeypatch.setattr(trainer, 'run_steps', full)
    with pytest.raises(UsageError, match='--batch_size=16: too little memory .* Lower it'):
        trainer.train()
    trainer = Trainer(config(workdir=str(run), training_steps=12), synthetic)
    monkeypatch.setattr(trainer, 'run_steps', full)
    with pytest.raises(UsageError, match='at step 10. Free device memory.* resumes at step 10'):
        trainer.train()


def test_trainer_saves_on_sigterm_and_the_same_command_resumes(tmp_path, here):
    def flags(name):
        return [
            '--dataset=synthetic_2d',
            '--batch_size=16',
            f'--workdir={tmp_path}/{name}',
            '--method=vae',
            '--training_steps=600',
            '--save_every_steps=100',
            '--sample_every_steps=200',
        ]

    process = subprocess.Popen(
        [sys.executable, ROOT / 'bin' / 'train.py', *flags('a')],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_content(tmp_path / 'a' / 'stats.jsonl', process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and 'saved' in errors
    here('train', *flags('a'))
    here('train', *flags('b'))
    logs = [(tmp_path / name / 'stats.jsonl').read_text() for name in 'ab']
    assert logs[0] == logs[1]
    manifests = [
        json.loads((tmp_path / n / 'checkpoints/ckpt-000000600.manifest.json').read_text())
        for n in 'ab'
    ]
    assert manifests[0] == manifests[1]  # byte for byte the same state


@pytest.mark.parametrize('step', [4, 10])
def test_trainer_saves_after_the_call_of_a_signal(config, synthetic, tmp_path, step, monkeypatch):
    trainer = Trainer(config(workdir=str(tmp_path), save_every_steps=10), synthetic)
    advance = trainer._advance

    def advance_and_stop(start):
        if (end := advance(start)) == step:
            signal.raise_signal(signal.SIGUSR1)
        return end

    monkeypatch.setattr(trainer, '_advance', advance_and_stop)
    if step == 10:
        trainer.train()  # complete
    else:
        with pytest.raises(Interrupted, match='after step 4, all saved'):
            trainer.train()
    saved = (tmp_path / 'checkpoints').glob('ckpt-*.manifest.json')
    assert [path.name for path in saved] == [f'ckpt-{step:09d}.manifest.json']


def wait_for_content(path, process):
    """Waits until a file that `process` writes is not empty."""
    for _ in range(6000):
        if path.exists() and path.stat().st_size > 0:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    pytest.fail('no progress in five minutes')


def test_trainer_on_two_devices_resumes_and_loads_on_one(
    config, synthetic, straight, mirrored, tmp_path
):
    one, two = pathlib.Path(straight.config.workdir), tmp_path / 'two'
    for steps in (4, 10):  # a whole log interval each
        shared = config(workdir=str(two), training_steps=steps)
        train(shared, synthetic, strategy=mirrored(2))
    lines = [{r['step']: r for r in read_jsonl(run / 'stats.jsonl')} for run in (one, two)]
    assert {2, 4, 5, 6, 8, 10} == lines[0].keys() == lines[1].keys()
    for step, line in lines[0].items():
        for tag, value in line.items():
            assert lines[1][step][tag] == pytest.approx(value, rel=0.01, abs=2e-3), (step, tag)
    a, b = (flexae_tf.load_run(folder).sample(4, seed=3) for folder in (one, two))
    np.testing.assert_allclose(a, b, atol=3e-3)


def test_trainer_on_two_devices_equals_one_device(config, mirrored, short_networks):
    # Losses, gradient norms, weights and batch-norm averages, on images.
    small = dict(dataset='digits', latent_dim=4, validation_examples=20)
    small |= dict(training_steps=1, batch_size=8, precision='float32')
    images = flexae_tf.load_dataset(config(**small))
    # Random pixels: Adam turns the rounding errors of features without a gradient, like the black
    # borders of digits, into whole steps.
    x = np.random.RandomState(0).randint(0, 256, images.train.x.shape).astype(np.uint8)
    images = dataclasses.replace(images, train=dataclasses.replace(images.train, x=x))
    one = Trainer(config(**small), images)
    two = Trainer(config(**small), images, strategy=mirrored(2))
    scalar = [tf.constant(n, tf.int64) for n in (0, 1)]
    for trainer in (one, two):
        assert int(trainer.run_steps(*scalar)) == 1
    for tag, a, b in zip(
        [*one.method.tags, 'count'],
        one.state.totals.numpy(),
        two.state.totals.read_value().numpy(),
        strict=True,
    ):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-5), tag
    for a, b in zip(one.method.weights, two.method.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5, err_msg=a.path)


def test_trainer_with_xla_equals_trainer_without(config, synthetic):
    plain, compiled = (
        train(config(training_steps=2, jit_compile=jit), synthetic) for jit in ('off', 'on')
    )
    for a, b in zip(plain.method.weights, compiled.method.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4, err_msg=a.path)


def test_train_accepts_flags_txt_of_a_run(straight, here, capsys):
    here('train', f'--flagfile={straight.config.workdir}/flags.txt')
    assert 'nothing to do' in capsys.readouterr().out
