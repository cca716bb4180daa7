"""Training of latent models on the codes of a run; their methods are tested in tests/methods."""

import dataclasses
import itertools
import shutil
import signal

import numpy as np
import pytest

from flexae_tf.checked_files import read_arrays, read_json, write_arrays, write_json
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.densities import densities
from flexae_tf.densities.latent_models import MODELS, model_config
from flexae_tf.errors import Interrupted, NonFiniteLossError, UsageError
from flexae_tf.training.restore import open_run
from flexae_tf.training.trainer import Trainer
from tests.densities.conftest import DENSITY_STEPS
from tests.methods.building import build


def test_fit_resumes_bit_identically_after_an_interruption(
    run, dataset, fitted_folder, monkeypatch
):
    name = 'latent_gan'
    calls, advance = itertools.count(1), Trainer._advance

    def advance_and_stop(trainer, step):
        end = advance(trainer, step)
        if next(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return end

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, '_advance', advance_and_stop)
        with pytest.raises(Interrupted):
            densities.fit(run, name, dataset, steps=DENSITY_STEPS)
    folder = densities.density_folder(run, name)
    assert (folder / 'checkpoints').exists() and not (folder / 'density.json').exists()
    with pytest.raises(UsageError, match=f'unfinished .*--density_steps={DENSITY_STEPS}'):
        densities.fit(run, name, dataset, steps=DENSITY_STEPS + 1)
    # The stored codes are used, because another device may compute others.
    with monkeypatch.context() as patch:
        patch.setattr(type(run.method), 'sample_posterior', lambda *_: pytest.fail('encoded again'))
        resumed = densities.fit(run, name, dataset, steps=DENSITY_STEPS)
    uninterrupted = densities.open_sampler(fitted_folder(name), 'last', name)
    np.testing.assert_array_equal(
        resumed.method.sample_latent(9, 0), uninterrupted.method.sample_latent(9, 0)
    )


def test_fit_refuses_other_steps_than_those_of_a_fitted_model(fitted_folder, dataset):
    run = open_run(fitted_folder('latent_gan'))
    with pytest.raises(UsageError, match=f'was fitted with --density_steps={DENSITY_STEPS}'):
        densities.fit(run, 'latent_gan', dataset, steps=DENSITY_STEPS + 1)
    assert densities.fit(run, 'latent_gan', dataset).density  # without steps it is accepted


def test_fit_restarts_on_the_codes_of_another_checkpoint(fitted_folder, dataset, tmp_path):
    run = open_run(shutil.copytree(fitted_folder('latent_gan'), tmp_path / 'run'))
    before = densities.open_sampler(run.workdir.path, 'last', 'latent_gan')
    codes = densities.density_folder(run, 'latent_gan') / 'codes.npz'
    other = {'checkpoint': ['f' * 12]}
    stored = read_arrays(codes)
    write_arrays(codes, **stored | other | {'train': stored['train'] + 1.0})
    manifest = codes.with_name('density.json')
    write_json(manifest, read_json(manifest, object) | other)
    after = densities.fit(run, 'latent_gan', dataset, steps=DENSITY_STEPS)
    with np.load(codes) as stored:
        assert stored['checkpoint'].tolist() == [run.digest]
    assert after.density == before.density


@pytest.mark.parametrize(
    'name, steps, batch_size, width',
    [('second_stage', 782, 512, 4), ('latent_gan', 30, 16, 2)],  # 400 epochs; as the run
)
def test_fit_trains_on_all_codes_for_the_default_length(
    name, steps, batch_size, width, run, dataset, monkeypatch
):
    trainers = []
    monkeypatch.setattr(Trainer, 'train', lambda self: trainers.append(self))
    densities.fit(run, name, dataset)
    config, spec = trainers[0].config, trainers[0].method.spec
    assert (config.training_steps, config.batch_size) == (steps, batch_size)
    assert (spec.shape, spec.train_size, spec.test_size) == ((width,), 1000, 200)
    with np.load(densities.density_folder(run, name) / 'codes.npz') as codes:
        assert spec.value_range == (codes['train'].min(), codes['train'].max())
        assert codes['train'].shape == (1000, width) and codes['held_out'].shape == (200, width)


def test_fit_uses_one_device(run, dataset, monkeypatch):
    monkeypatch.setattr(
        'flexae_tf.training.trainer.choose_strategy', lambda: pytest.fail('all devices')
    )
    densities.fit(run, 'second_stage', dataset, steps=DENSITY_STEPS)


def test_fit_names_the_density_in_errors_of_its_training(run, dataset, monkeypatch):
    def fail(self):
        raise NonFiniteLossError('loss/critic is nan')

    monkeypatch.setattr(Trainer, 'train', fail)
    with pytest.raises(NonFiniteLossError, match='^training latent_gan in .*: loss/critic is nan'):
        densities.fit(run, 'latent_gan', dataset, steps=DENSITY_STEPS)


@pytest.mark.parametrize('name', MODELS)
def test_build_restores_the_trained_weights(name, fitted_folder):
    run = densities.open_sampler(fitted_folder(name), 'last', name)
    model = open_run(densities.density_folder(run, name)).method  # of the last checkpoint
    prior = MODELS[name].build_prior(model)
    np.testing.assert_allclose(
        run.method.sample_latent(70, 3), prior.sample(70, 3), rtol=1e-5, atol=1e-5
    )
    untrained = build(model.config, model.spec)
    for a, b in zip(model.trainable_variables, untrained.trainable_variables, strict=True):
        last_bias = a.path.startswith('critic') and a.shape == (1,)  # has no gradient
        assert last_bias == np.array_equal(a, b), a.path


def test_model_config_takes_sizes_from_the_run(run):
    spec = DatasetSpec('mnist', 'images', (28, 28, 1), 100, 100, (0.0, 1.0))
    config = TrainConfig(dataset='mnist', latent_dim=6, noise_dim=3, generator_capacity=2, seed=7)
    config = model_config('latent_gan', run._replace(config=config, spec=spec))
    assert (config.network, config.latent_dim, config.noise_dim) == ('mnist', 6, 3)
    assert (config.generator_capacity, config.seed) == (2, 7)
    assert config.gen_learning_rate == 5e-4 and config.critic_learning_rate == 1e-4


def test_model_config_takes_arithmetic_from_the_run(run):
    config = dataclasses.replace(
        run.config, jit_compile='on', deterministic=True, precision='float32'
    )
    config = model_config('latent_gan', run._replace(config=config))
    assert config.jit_compile == 'on' and config.deterministic and config.precision == 'float32'
