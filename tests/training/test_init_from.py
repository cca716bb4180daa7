"""Training from the weights of another run (`--init_from`)."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.training import dry_run
from flexae_tf.training.restore import open_run, pin_source
from flexae_tf.training.trainer import Trainer
from flexae_tf.training.workdir import Workdir, check_request
from tests.training.conftest import assert_equal_states, remove_checkpoint, train


@pytest.fixture
def tuned(config, run, tmp_path):
    """`tuned(**options)`: a configuration that starts from the weights of `run`."""

    def make(name='tuned', **options):
        options = dict(init_from=str(run), seed=3) | options
        return config(workdir=str(tmp_path / name), **options)

    return make


def assert_equal_weights(a, b):
    for first, second in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(first, second, err_msg=first.path)


def test_starts_from_all_weights_with_fresh_optimizers(tuned, synthetic, straight, run, tmp_path):
    trainer = train(tuned(training_steps=0), synthetic)
    assert_equal_weights(trainer.method, straight.method)
    own = [v for v in trainer.method.ae_optimizer.variables if 'learning_rate' not in v.path]
    assert own and not any(np.any(v.numpy()) for v in own)  # iterations and moments
    # The workdir holds the weights, and its configuration identifies them.
    opened = open_run(tmp_path / 'tuned')
    assert opened.step == 0
    assert_equal_weights(opened.method, straight.method)
    recorded = json.loads((tmp_path / 'tuned' / 'config.json').read_text())['config']
    assert recorded['init_from'] == str(run)
    assert recorded['init_checkpoint'] == f'10-{Workdir(run).digest(10)}'
    log = (tmp_path / 'tuned' / 'log.txt').read_text()
    assert f'weights of {run}, step 10: generator, critic, encoder, decoder' in log
    assert 'random' not in log


def test_resumes_exactly_without_the_other_run(tuned, synthetic, run, tmp_path):
    options = tuned(name='uninterrupted', training_steps=4)
    uninterrupted = train(options, synthetic)
    train(tuned(training_steps=2), synthetic)
    shutil.rmtree(run)
    request = tuned(training_steps=4)
    resolved, _ = check_request(request)  # the same command
    assert resolved.init_checkpoint and request.init_checkpoint is None
    dry_run.show(resolved, synthetic.spec)
    resumed = train(request, synthetic)
    assert 'resuming at step 2' in (tmp_path / 'tuned' / 'log.txt').read_text()
    assert_equal_states(uninterrupted, resumed)


def test_same_command_resumes_however_it_names_the_other_run(tuned, synthetic, run, monkeypatch):
    (run.parent / 'here').mkdir(exist_ok=True)
    monkeypatch.chdir(run.parent / 'here')
    request = tuned(init_from=f'../{run.name}', init_checkpoint='000000010', training_steps=1)
    first = train(request, synthetic)
    assert_equal_states(first, train(request, synthetic))


def test_run_killed_before_its_first_save_starts_from_the_same_weights(tuned, synthetic, run):
    trainer = train(tuned(training_steps=0), synthetic)
    for path in (pathlib.Path(trainer.config.workdir) / 'checkpoints').iterdir():
        path.unlink()
    again = train(tuned(training_steps=0), synthetic)
    assert_equal_weights(again.method, trainer.method)
    for path in (pathlib.Path(trainer.config.workdir) / 'checkpoints').iterdir():
        path.unlink()
    remove_checkpoint(run, 10)  # the newest one is another one now
    with pytest.raises(MissingDataError, match=r'no checkpoint of step 10'):
        Trainer(tuned(training_steps=0), synthetic)


def test_checkpoint_can_be_chosen_and_a_corrupt_one_is_skipped(tuned, synthetic, run, capsys):
    chosen = pin_source(tuned(init_checkpoint='5'))  # a snapshot
    assert chosen.init_checkpoint.startswith('5-')
    assert_equal_weights(Trainer(chosen, synthetic).method, open_run(run, 5).method)
    (data_file,) = (run / 'checkpoints').glob('ckpt-000000010.data*')
    data_file.write_bytes(data_file.read_bytes()[:-1])
    assert pin_source(tuned()).init_checkpoint == f'9-{Workdir(run).digest(9)}'
    assert 'checkpoint of step 10 is corrupt' in capsys.readouterr().out


def test_recorded_weights_must_be_the_same(tuned, synthetic, run):
    with pytest.raises(MissingDataError, match='its checkpoint of step 10 is not 0123456789ab'):
        Trainer(tuned(init_checkpoint='10-0123456789ab'), synthetic)
    train(tuned(training_steps=0), synthetic)
    with pytest.raises(UsageError, match=r'--init_checkpoint=10-[0-9a-f]{12} there, 9-'):
        train(tuned(init_checkpoint='9'), synthetic)
    with pytest.raises(UsageError, match=r'--init_checkpoint=10-[0-9a-f]{12} there, None now'):
        check_request(tuned(init_from=None))


def test_identity_has_the_weights_and_not_their_path(tuned, config):
    one, moved, other = (
        tuned(init_from=path, init_checkpoint=checkpoint).identity_hash()
        for path, checkpoint in (
            ('/a', '10-0123456789ab'),
            ('/b', '10-0123456789ab'),
            ('/a', '10-ba9876543210'),
        )
    )
    assert one == moved != other
    assert config(seed=3).identity_hash() not in (one, other)
    assert TrainConfig().changed() == {}


def test_another_method_takes_the_networks_that_it_shares(tuned, synthetic, straight):
    trainer = Trainer(tuned(method='wae_normal'), synthetic)
    for name in ('encoder', 'decoder', 'critic'):
        assert_equal_weights(getattr(trainer.method, name), getattr(straight.method, name))


def test_networks_that_the_other_run_lacks_are_random(config, synthetic, tmp_path, capsys):
    source = train(
        config(method='ae_gmm', workdir=str(tmp_path / 'ae'), training_steps=0), synthetic
    )
    options = dict(init_from=str(tmp_path / 'ae'), workdir=str(tmp_path / 'b'), seed=3)
    trainer = train(config(training_steps=0, **options), synthetic)
    assert 'step 0: encoder, decoder; random: generator, critic' in capsys.readouterr().out
    assert_equal_weights(trainer.method.decoder, source.method.decoder)
    random = Trainer(config(seed=3), synthetic).method
    assert_equal_weights(trainer.method.generator, random.generator)


def test_precision_is_the_one_of_the_new_run(tuned, synthetic):
    for precision, expected in (('float32', False), ('tf32', True)):
        Trainer(tuned(precision=precision), synthetic)
        assert tf.config.experimental.tensor_float_32_execution_enabled() == expected


def test_option_of_another_discriminator_is_named(config, tuned, synthetic, tmp_path):
    options = dict(method='wae_gan', adversarial_weight=1.0, training_steps=0)
    train(config(**options, workdir=str(tmp_path / 'gan')), synthetic)
    options |= dict(init_from=str(tmp_path / 'gan'), discriminator='celeba')
    with pytest.raises(UsageError, match=r'\(--discriminator=\w+ there, celeba here\)'):
        Trainer(tuned(**options), synthetic)


def test_other_networks_are_refused_before_anything_is_written(tuned, synthetic, tmp_path):
    for options, message in (
        (
            dict(latent_dim=3),
            r'has shape \[2, 128\] there, has shape \[3, 128\] here.*latent_dim=2',
        ),
        (dict(noise_dim=3), r'generator/fc_1/kernel .* \(--noise_dim=2 there, 3 here\)'),
        (dict(method='vae'), r'encoder/.*(is missing).*\(--method=flexae there, vae here'),
    ):
        with pytest.raises(UsageError, match=rf'--init_from={tmp_path}/run: .*{message}'):
            Trainer(tuned(**options), synthetic)
    assert not (tmp_path / 'tuned').exists()


def test_wrong_runs_are_refused_before_tensorflow_is_imported(tuned, config, run, tmp_path):
    check_request(tuned())
    with pytest.raises(MissingDataError, match='no: holds no run'):
        check_request(tuned(init_from=str(tmp_path / 'no')))
    with pytest.raises(UsageError, match='is the --workdir'):
        check_request(tuned(name='run'))
    digits = config(
        dataset='digits', validation_examples=20, batch_size=4, init_from=str(run), dry_run=True
    )
    with pytest.raises(UsageError, match=r'vectors of shape \[128\], not images of shape \[28,'):
        check_request(digits)
    with pytest.raises(UsageError, match='--init_checkpoint=5: needs --init_from'):
        TrainConfig(init_checkpoint='5')
    with pytest.raises(UsageError, match='--init_checkpoint=newest: unknown'):
        TrainConfig(init_from='a', init_checkpoint='newest')


def test_run_without_a_valid_checkpoint_is_refused(tuned, synthetic, run):
    for path in (run / 'checkpoints').glob('*.data*'):
        path.write_bytes(b'')
    with pytest.raises(CorruptRunError, match='no checkpoint is valid'):
        Trainer(tuned(), synthetic)
    for path in (run / 'checkpoints').iterdir():
        path.unlink()
    with pytest.raises(MissingDataError, match='holds no checkpoint yet'):
        Trainer(tuned(), synthetic)


def test_dry_run_copies_the_weights_and_writes_nothing(tuned, synthetic, run, tmp_path, capsys):
    dry_run.show(pin_source(tuned(dry_run=True)), synthetic.spec)
    printed = capsys.readouterr().out
    assert f'--init_checkpoint=10-{Workdir(run).digest(10)}' in printed
    assert 'step 10: generator, critic, encoder, decoder' in printed
    assert not (tmp_path / 'tuned').exists()


def test_batch_norm_averages_are_copied_on_two_devices(
    config, tmp_path, short_networks, mirrored, capsys
):
    import flexae_tf

    small = dict(dataset='digits', validation_examples=20, batch_size=4, method='ae_gmm')
    small |= dict(training_steps=1, sample_every_steps=100)
    options = config(workdir=str(tmp_path / 'a'), **small)
    images = flexae_tf.load_dataset(options)
    source = train(options, images)
    averages = [v for v in source.method.weights if 'moving' in v.path]
    assert averages and not all(np.all(v.numpy() == round(float(v[0]))) for v in averages)
    options = dataclasses.replace(options, workdir=None, init_from=str(tmp_path / 'a'))
    two = Trainer(options, images, strategy=mirrored(2))
    assert_equal_weights(two.method, source.method)
