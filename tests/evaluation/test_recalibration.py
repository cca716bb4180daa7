"""Scores with re-estimated averages of batch norm, on small runs."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import EvaluateConfig, TrainConfig
from flexae_tf.data.batches import as_float
from flexae_tf.errors import UsageError
from flexae_tf.evaluation import image_sets, recalibration
from flexae_tf.evaluation.image_sets import ImageSet, ModelId
from flexae_tf.evaluation.recalibration import Comparison, recalibrated
from flexae_tf.methods import build_method, resolve
from flexae_tf.training.restore import Run, open_run
from flexae_tf.training.trainer import Trainer
from tests.evaluation.conftest import scores_of

PIXELS = dict(num_examples=40, features='pixels')


@pytest.fixture(scope='module')
def lagging_folder(tmp_path_factory):
    """The folder of a run whose averages have moved by one per cent only; read only."""
    folder = tmp_path_factory.mktemp('lagging') / 'run'
    options = dict(method='ae_gmm', dataset='digits', validation_examples=40, latent_dim=16)
    options |= dict(batch_size=32, bn_momentum=0.9999, ae_learning_rate=0.01)
    options |= dict(training_steps=100, save_every_steps=50, log_every_steps=50)
    run_config = TrainConfig(**options, sample_every_steps=1000, workdir=str(folder))
    dataset = data.load(run_config)
    Trainer(resolve(run_config, dataset.spec), dataset).train()
    return folder


@pytest.fixture
def lagging(lagging_folder, tmp_path):
    """A copy of that run."""
    return shutil.copytree(lagging_folder, tmp_path / 'lagging')


@pytest.fixture
def estimated(monkeypatch):
    """A list that receives the name of every network whose averages are estimated."""
    names, estimate = [], recalibration.pooled_moments

    def counted(network, batches):
        names.append(network.name)
        return estimate(network, batches)

    monkeypatch.setattr(recalibration, 'pooled_moments', counted)
    return names


def reconstructions(run, x):
    """Returns the comparison of reconstructions of `x` with no real side."""
    config = EvaluateConfig(workdir='unused', sets='reconstructions')
    (image_set,) = image_sets.of_run(run, x, ModelId(), config)
    return Comparison(image_set, [])


def with_batch_statistics(method, x):
    """Returns reconstructions in training mode, of uint8 images."""
    return method.decoder(method.encoder(as_float(tf.constant(x)), training=True), training=True)


def squared_error(x, x_hat):
    """Returns the mean over images of the summed squared error (Eq. 4)."""
    return float(np.mean(np.sum(np.square(x / 255.0 - x_hat), axis=(1, 2, 3))))


def test_lag_of_the_averages_is_removed_while_a_set_is_made(lagging_folder):
    run = open_run(lagging_folder)
    dataset = data.load(run.config)
    x = dataset.test.x[:64]
    stored = reconstructions(run, x)
    (other,) = recalibrated(run, dataset.train.x, [stored], 10)
    before, found, after = (c.image_set.make(0) for c in (stored, other, stored))
    np.testing.assert_array_equal(after, before)
    errors = [squared_error(x, x_hat) for x_hat in (before, found)]
    assert errors[1] < 0.25 * errors[0], errors
    # The pooled moments of 320 images are at least as good as the statistics of these 64.
    assert errors[1] < 1.05 * squared_error(x, with_batch_statistics(run.method, x))


def test_moments_of_one_batch_are_its_batch_statistics(lagging_folder):
    run = open_run(lagging_folder)
    batch = data.load(run.config).train.x[: run.config.batch_size]
    (other,) = recalibrated(run, batch, [reconstructions(run, batch)], 1)
    expected = with_batch_statistics(run.method, batch)
    np.testing.assert_allclose(other.image_set.make(0), expected, atol=1e-5)


def test_decoder_of_a_stochastic_method_has_the_moments_of_posterior_samples(config):
    run_config = config(method='vae', dataset='digits', batch_size=32)
    spec = data.describe(run_config)
    method = build_method(run_config, spec)
    run = Run(method, run_config, spec, None, 0, '', frozenset())
    x = np.random.RandomState(0).randint(0, 256, [32, *spec.shape], np.uint8)

    def difference(_):
        images = as_float(tf.constant(x))
        differences = []
        for z in (method.sample_posterior(images, 0), method.encode(images)):
            averages = method.decode(z)
            differences.append(np.abs(method.decoder(z, training=True) - averages).max())
        return np.array(differences)

    image_set = ImageSet('reconstructions', '', ModelId(), difference)
    (other,) = recalibrated(run, x, [Comparison(image_set, [])], 1)
    of_samples, of_means = other.image_set.make(0)
    assert of_samples < 1e-4 < 1e-2 < of_means


def test_both_treatments_are_scored(own, score, estimated, capsys):
    folder, _ = own
    options = dict(sets='reconstructions,samples,train,latents', metrics='fd,psnr,codes', **PIXELS)
    plain = shutil.copytree(folder, folder.with_name('plain'))
    expected = score(plain, **options)
    found = score(folder, recalibrate_batch_norm=3, **options)
    assert estimated == ['encoder', 'decoder']
    for name, record in expected.items():
        for field in ('value', 'id', 'protocol', 'fields'):
            assert found[name][field] == record[field], name
    added = {name: record for name, record in found.items() if name not in expected}
    without_floor = {name for name, record in expected.items() if record['set'] != 'train'}
    assert set(added) == {f'{name}_recalibrated' for name in without_floor}
    for name, record in added.items():
        stored = found[name.removesuffix('_recalibrated')]
        assert record['fields'] == stored['fields'] | {'batch_norm': 'recalibrated_3'}
        assert record['protocol_name'] == 'custom' and record['checkpoint'] == stored['checkpoint']
    for name in ('fd_pixels_40_gen', 'psnr_pixels_40_rec', 'z_scale_40_codes'):
        assert added[f'{name}_recalibrated']['value'] != found[name]['value'], name
    # z_hat comes from P-GEN, which has no batch norm.
    name = 'z_hat_scale_40_codes'
    assert added[f'{name}_recalibrated']['value'] == found[name]['value']

    # The second call computes nothing.
    capsys.readouterr()
    assert not score(folder, recalibrate_batch_norm=3, **options)
    assert estimated == ['encoder', 'decoder']
    assert capsys.readouterr().out.count('; recorded before') == len(found)
    # TensorBoard shows them in sub-runs of their own, for pixels and codes.
    sub_runs = [path.name for path in (folder / 'tb' / 'scores').iterdir()]
    assert len([name for name in sub_runs if 'custom' in name]) == 2


def test_every_checkpoint_has_averages_of_its_own(own, score, estimated):
    folder, _ = own
    options = dict(sets='samples', protocol='authors', **PIXELS)
    plain = shutil.copytree(folder, folder.with_name('plain'))
    score(plain, **options)
    score(folder, recalibrate_batch_norm=2, **options)
    values = {(r['step'], r['metric']): r['value'] for r in scores_of(folder)}
    for record in scores_of(plain):
        assert values[record['step'], record['metric']] == record['value']
    assert estimated == 3 * ['encoder', 'decoder']
    name = 'fd_pixels_40_gen_recalibrated'
    late = {step: value for (step, metric), value in values.items() if metric == name}
    assert sorted(late) == [8, 12, 13] and len(set(late.values())) == 3
    best = min(late, key=late.get)
    assert values[best, f'{name}_min'] == late[best]


def test_samples_of_a_fitted_density_keep_the_stored_averages(lagging, score, capsys):
    options = dict(metrics='fd', recalibrate_batch_norm=2, fit_missing=True, **PIXELS)
    scores = score(lagging, sets='reconstructions,samples,latents', **options)
    assert [name for name in scores if 'recalibrated' in name] == ['fd_pixels_40_rec_recalibrated']
    assert scores['fd_pixels_40_gen']['density'].startswith('gaussian_mixture')
    assert 'not for samples, latents, because gaussian_mixture' in capsys.readouterr().out
    with pytest.raises(UsageError, match='no set .* because gaussian_mixture'):
        score(lagging, sets='samples', **options)


def test_recalibration_needs_batch_norm_sets_and_examples(run, own, score):
    with pytest.raises(UsageError, match='no batch norm. Leave it out'):
        score(run[0], recalibrate_batch_norm=2, num_examples=40)
    folder, _ = own
    with pytest.raises(UsageError, match='no set of --sets'):
        score(folder, recalibrate_batch_norm=2, sets='train', **PIXELS)
    with pytest.raises(UsageError, match=r'batches of 8 training examples. Use at most \d+'):
        score(folder, recalibrate_batch_norm=10_000, **PIXELS)
    assert not os.path.exists(folder / 'scores.jsonl')
