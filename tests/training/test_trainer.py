import dataclasses
import json
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

import flexae_tf
from flexae_tf.config import TrainConfig
from flexae_tf.errors import CorruptRunError, MissingDataError, NonFiniteLossError, UsageError
from flexae_tf.files import read_jsonl
from flexae_tf.training import distribution
from flexae_tf.training.trainer import Trainer
from tests.conftest import ROOT


def train(config, data, **options):
    trainer = Trainer(config, data, **options)
    trainer.train()
    return trainer


def state_of(trainer):
    """Every variable there is: weights, moments, counters, averages."""
    return {v.path: v.numpy() for v in trainer.method.variables} | {
        f'{name}/{v.path}': v.numpy()
        for name in ('ae', 'critic', 'gen', 'enc')
        for v in getattr(trainer.method, f'{name}_optimizer').variables
    }


def assert_equal_states(a, b):
    a, b = state_of(a), state_of(b)
    assert a.keys() == b.keys() and len(a) > 40
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], err_msg=path)


@pytest.fixture(scope='module')
def straight(config, synthetic, tmp_path_factory):
    """The run of `config()` from its first step to its last, trained once: tracing is slow."""
    trainer = train(config(workdir=str(tmp_path_factory.mktemp('straight') / 'run')), synthetic)
    trainer._workdir.close()
    return trainer


@pytest.fixture
def run(straight, tmp_path):
    """The folder of `straight`, a copy to go on in."""
    return shutil.copytree(straight.config.workdir, tmp_path / 'run')


def test_ten_steps_are_six_and_four_resumed(config, synthetic, straight, tmp_path, monkeypatch):
    train(config(workdir=str(tmp_path / 'b'), training_steps=6), synthetic)
    begun, advance = [], Trainer._advance
    monkeypatch.setattr(Trainer, '_advance', lambda self, n: (begun.append(n), advance(self, n))[1])
    resumed = train(config(workdir=str(tmp_path / 'b')), synthetic)
    assert begun[0] == 6  # not from the start, which would end alike
    assert_equal_states(straight, resumed)
    first, second = (
        read_jsonl(pathlib.Path(name) / 'stats.jsonl')
        for name in (straight.config.workdir, tmp_path / 'b')
    )
    # The shorter run sampled at its own end; everything else is the same, line by line.
    assert [r['step'] for r in first] == [2, 4, 5, 6, 8, 10]
    for a, b in zip(first, second, strict=True):
        assert {k: b[k] for k in a} == a


def test_no_steps_keep_the_method_as_it_begins(config, synthetic, straight, tmp_path):
    began = Trainer(config(), synthetic)
    kept = train(config(workdir=str(tmp_path), training_steps=0), synthetic)
    assert_equal_states(began, kept)
    loaded = flexae_tf.load_run(tmp_path)
    for a, b in zip(began.method.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    # The same workdir goes on from there.
    assert_equal_states(straight, train(config(workdir=str(tmp_path)), synthetic))


def test_a_resume_in_the_middle_of_a_log_interval_is_exact(config, synthetic, straight, run):
    before = (run / 'stats.jsonl').read_text()
    # The run ended at 10 and logged there; take it back to its checkpoint of step 9.
    for path in (run / 'checkpoints').glob('*-000000010*'):
        path.unlink()
    resumed = train(config(workdir=str(run)), synthetic)
    assert 'resuming at step 9' in (run / 'log.txt').read_text()
    assert_equal_states(straight, resumed)
    assert (run / 'stats.jsonl').read_text() == before


def test_two_runs_are_equal_and_two_seeds_differ(config, synthetic, straight):
    assert_equal_states(straight, train(config(), synthetic))
    first, other = (Trainer(config(seed=s), synthetic).method.encoder.weights[0] for s in (0, 1))
    assert not np.array_equal(first, other)


def test_image_methods_resume_exactly_too(config, tmp_path, short_networks):
    images = flexae_tf.load_dataset(config(dataset='digits', validation_examples=20))
    options = dict(dataset='digits', critic_steps=1, batch_size=4, training_steps=4)
    options |= dict(validation_examples=20, sample_every_steps=1000, save_every_steps=2)
    straight = train(config(workdir=str(tmp_path / 'a'), **options), images)
    names = {path.name for path in (tmp_path / 'a' / 'samples').iterdir()}
    step = '000000004.png'
    assert names == {'reals.png', f'fakes_{step}', f'recon_{step}', f'interp_{step}'}
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    for path in (tmp_path / 'b' / 'checkpoints').glob('*-000000004*'):
        path.unlink()  # as if it had been stopped after step 2
    resumed = train(config(workdir=str(tmp_path / 'b'), **options), images)
    assert_equal_states(straight, resumed)


def test_what_a_run_leaves_behind(config, synthetic, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = train(config(workdir=str(tmp_path / 'run'), eval_every_steps=5), synthetic)
    run = tmp_path / 'run'
    files = {path.name for path in run.iterdir()}
    assert files >= {'config.json', 'flags.txt', 'environment.json', 'log.txt', 'stats.jsonl'}
    assert {p.name for p in (run / 'checkpoints').glob('*.manifest.json')} == {
        *(f'ckpt-{step:09d}.manifest.json' for step in (6, 9, 10)),
        *(f'weights-{step:09d}.manifest.json' for step in (5, 10)),
    }
    events = EventAccumulator(str(run / 'tb'))
    events.Reload()
    tags = set(events.Tags()['tensors'])
    assert tags >= {'perf/tflops', 'resources/cpu_mem_gb'}
    assert tags >= {*trainer.method.tags, 'validation/ae', 'latent/z_rank', 'latent/zhat', 'config'}
    assert tags >= {'perf/steps_per_sec', 'perf/images_per_sec', 'checkpoint/seconds'}
    assert any(re.fullmatch(r'metrics/fd_vectors_200_gen/[0-9a-f]{8}', tag) for tag in tags)
    assert [e.step for e in events.Tensors('loss/ae')] == [2, 4, 6, 8, 10]
    stats = read_jsonl(run / 'stats.jsonl')
    logged = tf.make_ndarray(events.Tensors('loss/ae')[0].tensor_proto)
    assert stats[0]['loss/ae'] == pytest.approx(float(logged), rel=1e-6)
    perf = read_jsonl(run / 'perf.jsonl')
    assert all(line['perf/steps_per_sec'] > 0 and line['perf/tflops'] > 0 for line in perf)


def test_a_logged_loss_is_the_mean_over_its_interval(config, synthetic, straight, tmp_path):
    every = train(config(workdir=str(tmp_path), log_every_steps=1), synthetic)
    one, two = (
        [line['loss/ae'] for line in read_jsonl(folder / 'stats.jsonl') if 'loss/ae' in line]
        for folder in (tmp_path, pathlib.Path(straight.config.workdir))
    )
    np.testing.assert_allclose(two, np.reshape(one, [5, 2]).mean(1), rtol=1e-6)
    assert every.run_steps.experimental_get_tracing_count() == 1


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    config, synthetic, run, monkeypatch
):
    before = sorted(p.name for p in (run / 'checkpoints').iterdir())
    longer = config(workdir=str(run), training_steps=14)
    trainer = Trainer(longer, synthetic)
    healthy = trainer.method.train_step

    def diverging(blocks, step):
        values = healthy(blocks, step)
        values['loss/gen'] *= tf.where(step == 11, np.nan, 1.0)
        return values

    monkeypatch.setattr(trainer.method, 'train_step', diverging)
    with pytest.raises(
        NonFiniteLossError, match=r'loss/gen not finite at step 11.*step 10 is kept'
    ):
        trainer.train()
    assert sorted(p.name for p in (run / 'checkpoints').iterdir()) == before
    train(longer, synthetic)  # and the run can go on


def test_divergence_is_exit_code_5(refused_here, tmp_path):
    flags = ['--dataset=synthetic_2d', f'--workdir={tmp_path}/run', '--ae_learning_rate=1e30']
    refused_here(5, ['not finite', 'learning rates'], 'train', *flags, '--training_steps=50')
    assert not list((tmp_path / 'run' / 'checkpoints').iterdir())


def test_a_full_disk_does_not_stop_training_but_the_end_needs_a_checkpoint(
    config, synthetic, tmp_path, monkeypatch
):
    from flexae_tf.training.checkpoints import Checkpoints

    trainer = Trainer(config(workdir=str(tmp_path / 'run'), snapshot_every_steps=0), synthetic)
    tried = []

    def full(self, step):
        tried.append(step)
        raise CorruptRunError('disk full')

    monkeypatch.setattr(Checkpoints, 'save', full)
    with pytest.raises(CorruptRunError):
        trainer.train()
    assert tried == [3, 6, 9, 10]
    assert 'WARNING: disk full' in (tmp_path / 'run' / 'log.txt').read_text()


def test_a_full_disk_that_tensorboard_meets_is_told_in_a_line(
    config, synthetic, tmp_path, monkeypatch
):
    trainer = Trainer(config(workdir=str(tmp_path / 'run')), synthetic)
    writer = trainer._summaries._writer

    def full():
        raise tf.errors.ResourceExhaustedError(None, None, 'events; No space left\nFailed to flush')

    monkeypatch.setattr(writer, 'flush', full)
    with pytest.raises(CorruptRunError, match=r'written any more \(events; No space left\): mend'):
        trainer.train()


def test_a_snapshot_is_written_before_the_checkpoint_of_its_step(
    config, synthetic, tmp_path, monkeypatch
):
    from flexae_tf.training.checkpoints import Checkpoints

    save, saved = Checkpoints.save, []

    def watched(self, step):
        saved.append((step, self._name))
        save(self, step)

    monkeypatch.setattr(Checkpoints, 'save', watched)
    train(config(workdir=str(tmp_path), snapshot_every_steps=6), synthetic)
    assert saved.index((6, 'weights')) < saved.index((6, 'ckpt'))


def test_the_environment_is_that_of_the_training(config, synthetic, run):
    path = run / 'environment.json'
    path.write_text('{"device": "elsewhere"}')
    train(config(workdir=str(run)), synthetic)  # nothing to do
    assert path.read_text() == '{"device": "elsewhere"}'
    train(config(workdir=str(run), training_steps=12), synthetic)
    assert 'elsewhere' not in path.read_text()


def test_statistics_are_of_held_out_examples(synthetic):
    trainer = Trainer(TrainConfig(dataset='synthetic_2d', validation_examples=200), synthetic)
    found, x = trainer._summaries.sample(1), synthetic.validation.x
    z, x_hat = trainer.method.encode(x).numpy(), trainer.method.reconstruct(x).numpy()
    square = np.mean(np.sum((x - x_hat) ** 2, axis=1))
    assert found['validation/ae'] == pytest.approx(square, rel=1e-4)
    assert found['latent/z_norm'] == pytest.approx(np.linalg.norm(z, axis=1).mean(), rel=1e-4)


def test_a_folder_that_holds_no_whole_run_is_refused(run):
    shutil.rmtree(run / 'checkpoints')
    (run / 'checkpoints').mkdir()
    with pytest.raises(MissingDataError, match='holds no checkpoint yet'):
        flexae_tf.load_run(run)
    (run / 'config.json').write_text('{')
    with pytest.raises(CorruptRunError, match='config.json is damaged'):
        flexae_tf.load_run(run)


def test_another_configuration_in_the_workdir_is_refused(config, synthetic, run):
    with pytest.raises(UsageError, match='--seed=0 there, 1 now; --batch_size=16 there, 8 now'):
        train(config(workdir=str(run), batch_size=8, seed=1), synthetic)
    # The same mathematics goes on.
    train(config(workdir=str(run), training_steps=11, log_every_steps=1), synthetic)


def test_other_training_data_in_the_workdir_are_refused(config, synthetic, run):
    # Another processor computes vectors that differ in a last bit here and there.
    near = synthetic.train.x.copy()
    near[:20, 0] = np.nextafter(near[:20, 0], np.float32(2.0))
    near = dataclasses.replace(synthetic, train=dataclasses.replace(synthetic.train, x=near))
    longer = config(workdir=str(run), training_steps=11)
    train(longer, near)
    fewer = dataclasses.replace(synthetic, train=synthetic.train.take(np.arange(100)))
    with pytest.raises(UsageError, match='other training data'):
        train(longer, fewer)


def test_two_processes_cannot_train_in_one_workdir(config, synthetic, tmp_path):
    first = Trainer(config(workdir=str(tmp_path / 'run')), synthetic)
    first._workdir.open(first.config, synthetic)
    with pytest.raises(UsageError, match='another process'):
        train(config(workdir=str(tmp_path / 'run')), synthetic)
    first._workdir.close()


def test_a_handful_of_pictures_is_enough(config, tmp_path, short_networks):
    images = np.random.RandomState(0).randint(0, 256, [12, 16, 16, 3]).astype(np.uint8)
    np.savez(tmp_path / 'few.npz', images=images)
    options = dict(dataset='folder', data_dir=str(tmp_path / 'few.npz'))
    options |= dict(validation_examples=2, batch_size=2, training_steps=1, network='mnist')
    options |= dict(workdir=str(tmp_path / 'run'))
    train(config(**options), flexae_tf.load_dataset(config(**options)))
    assert (tmp_path / 'run' / 'samples' / 'recon_000000001.png').exists()


def test_too_little_memory_is_told_with_a_cure(config, synthetic, run, monkeypatch):
    trainer = Trainer(config(), synthetic)

    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, 'OOM')  # as on a full GPU

    monkeypatch.setattr(trainer, 'run_steps', full)
    with pytest.raises(UsageError, match='--batch_size=16: lower it'):
        trainer.train()
    trainer = Trainer(config(workdir=str(run), training_steps=12), synthetic)
    monkeypatch.setattr(trainer, 'run_steps', full)
    with pytest.raises(UsageError, match='at step 10: free it .* the same command resumes at 10'):
        trainer.train()


def start(*flags):
    command = [sys.executable, ROOT / 'bin' / 'train.py', *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path, here):
    def flags(name):
        return [
            '--dataset=synthetic_2d',
            '--batch_size=16',
            f'--workdir={tmp_path}/{name}',
            '--critic_steps=1',
            '--training_steps=600',
            '--save_every_steps=100',
            '--sample_every_steps=200',
        ]

    process = start(*flags('a'))
    wait_for(tmp_path / 'a' / 'stats.jsonl', process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and 'all saved' in errors
    here('train', *flags('a'))
    here('train', *flags('b'))
    logs = [(tmp_path / name / 'stats.jsonl').read_text() for name in 'ab']
    assert logs[0] == logs[1]
    manifests = [
        json.loads((tmp_path / n / 'checkpoints/ckpt-000000600.manifest.json').read_text())
        for n in 'ab'
    ]
    assert manifests[0] == manifests[1]  # byte for byte the same state


def wait_for(path, process):
    """Until the file has a line."""
    for _ in range(6000):
        if path.exists() and path.stat().st_size > 0:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    pytest.fail('no progress in five minutes')


def test_two_devices_train_resume_and_are_loaded_on_one(
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


def test_xla_trains_as_it_is(config, synthetic):
    plain, compiled = (
        train(config(training_steps=2, jit_compile=jit), synthetic) for jit in (False, True)
    )
    for a, b in zip(plain.method.weights, compiled.method.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4, err_msg=a.path)


def test_two_devices_train_as_one(config, mirrored, short_networks):
    """Losses, norms, weights and batch-norm averages, on images."""
    small = dict(dataset='digits', latent_dim=4, validation_examples=20)
    small |= dict(training_steps=1, batch_size=8, precision='float32')
    images = flexae_tf.load_dataset(config(**small))
    # The black borders of digits are features without a gradient: all that Adam divides there is
    # rounding, of which it makes whole steps.
    x = np.random.RandomState(0).randint(0, 256, images.train.x.shape).astype(np.uint8)
    images = dataclasses.replace(images, train=dataclasses.replace(images.train, x=x))
    one = Trainer(config(**small), images)
    two = Trainer(config(**small), images, strategy=mirrored(2))
    scalar = [tf.constant(n, tf.int64) for n in (0, 1)]
    for trainer in (one, two):
        assert int(trainer.run_steps(*scalar)) == -1
    for tag, a, b in zip(
        [*one.method.tags, 'count'],
        one._state.totals.numpy(),
        two._state.totals.read_value().numpy(),
        strict=True,
    ):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-5), tag
    for a, b in zip(one.method.weights, two.method.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5, err_msg=a.path)


def test_batches_that_cannot_be_shared_are_refused():
    with pytest.raises(UsageError, match='batch_size=15 cannot be shared among 2'):
        distribution.check_shares(15, 2, jit_compile=False)
    with pytest.raises(UsageError, match='one device'):
        distribution.check_shares(16, 2, jit_compile=True)


def test_load_run_gives_the_trained_method_back(straight, run):
    loaded = flexae_tf.load_run(run)
    np.testing.assert_array_equal(loaded.sample(4, seed=3), straight.method.sample(4, seed=3))
    snapshot = flexae_tf.load_run(run, checkpoint=5)
    assert not np.array_equal(snapshot.sample(4, seed=3), loaded.sample(4, seed=3))


def test_without_a_checkpoint_to_go_on_from_nothing_begins_again(
    config, synthetic, straight, run, tmp_path
):
    options = config(workdir=str(run))
    train(options, synthetic)  # nothing to do, but its files know now where it is
    for path in (run / 'checkpoints').glob('ckpt-*'):
        path.unlink()
    kept = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    with pytest.raises(CorruptRunError, match='a snapshot of step 10, but no checkpoint'):
        Trainer(options, synthetic).train()
    now = {path: path.read_bytes() for path in kept if path.name not in ('.lock', 'log.txt')}
    assert now.items() <= kept.items() and read_jsonl(run / 'stats.jsonl')
    # The weights are there, to sample and to score.
    loaded = flexae_tf.load_run(run)
    np.testing.assert_array_equal(loaded.sample(4, seed=3), straight.method.sample(4, seed=3))
    # Before the first checkpoint was due, there may be snapshots alone.
    for path in (run / 'checkpoints').glob('weights-000000010*'):
        path.unlink()
    train(dataclasses.replace(options, save_every_steps=5), synthetic)


def test_flags_txt_gives_the_same_run_again(straight, here, capsys):
    here('train', f'--flagfile={straight.config.workdir}/flags.txt')
    assert 'nothing to do' in capsys.readouterr().out
