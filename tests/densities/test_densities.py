"""Densities fitted after training: what they are fitted to, kept as, and sampled from."""

import dataclasses
import functools
import itertools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from sklearn import mixture

from flexae_tf import losses, noise
from flexae_tf.config import DENSITIES, STAGES, EvaluateConfig, ExportConfig, TrainConfig
from flexae_tf.config.names import MAX_SEED
from flexae_tf.data import Dataset, DatasetSpec, Purpose, Split, fixed_permutation
from flexae_tf.densities import densities, latent_models
from flexae_tf.densities.latent_models import _config
from flexae_tf.errors import (
    CorruptRunError,
    Interrupted,
    MissingDataError,
    NonFiniteLossError,
    UsageError,
)
from flexae_tf.evaluation.evaluate import evaluate
from flexae_tf.export import export
from flexae_tf.files import lock, read_jsonl
from flexae_tf.methods import build_method
from flexae_tf.methods.posterior_samples import NO_SPREAD, draw_codes, posteriors
from flexae_tf.methods.second_stage import TwoStages
from flexae_tf.metrics import latent
from flexae_tf.noise import Role
from flexae_tf.training.restore import Run, initial_state, open_run, stores
from flexae_tf.training.shutdown import GracefulShutdown
from flexae_tf.training.summaries import MONITORED, Summaries
from flexae_tf.training.trainer import Trainer
from flexae_tf.training.workdir import Workdir

STEPS = 6  # of the densities that are trained


@pytest.fixture(scope='module')
def trained(synthetic, tmp_path_factory):
    """The workdir of a small VAE on 1000 vectors, and the data set cut to them."""
    folder = tmp_path_factory.mktemp('run') / 'vae'
    dataset = dataclasses.replace(synthetic, train=synthetic.train.take(np.arange(1000)))
    config = TrainConfig(
        method='vae',
        dataset='synthetic_2d',
        train_examples=1000,
        validation_examples=200,
        training_steps=30,
        batch_size=16,
        snapshot_every_steps=0,
        workdir=str(folder),
    )
    Trainer(config, dataset).train()
    return folder, dataset


@pytest.fixture
def run(trained, tmp_path):
    """That run, in a folder of the test's own."""
    folder, dataset = trained
    shutil.copytree(folder, tmp_path / 'run')
    return open_run(tmp_path / 'run'), dataset


@pytest.fixture(scope='module')
def fitted(trained, tmp_path_factory):
    """`fitted(name)`: the folder of that run with this stage, which is trained once."""
    folder, dataset = trained

    @functools.cache
    def fit(name):
        copy = shutil.copytree(folder, tmp_path_factory.mktemp(name) / 'run')
        densities.fit(open_run(copy), name, dataset, steps=STEPS)
        return copy

    return fit


def steps_of(name):
    return None if name == 'gaussian_mixture' else STEPS


def test_codes_are_those_of_inference(run):
    run, dataset = run
    x = dataset.train.x
    mean, log_variance = (t.numpy() for t in run.method.posterior(tf.constant(x), training=False))
    found = posteriors(run.method, x, seed=0)
    np.testing.assert_allclose(found, np.concatenate([mean, log_variance], axis=1), atol=1e-5)
    codes = draw_codes(run.method, x, seed=0)
    standardised = (codes - mean) / np.exp(0.5 * log_variance)
    assert np.abs(standardised.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(standardised.std(axis=0), 1.0, atol=0.07)
    assert len(np.unique(standardised.round(4))) > 1500  # batches do not share their noise


def test_a_code_without_spread():
    spec = DatasetSpec('synthetic_2d', 'vectors', (128,), 100, 100, (-1.0, 1.0))
    method = build_method(TrainConfig(dataset='synthetic_2d'), spec)
    x = np.random.default_rng(0).uniform(-1, 1, [5, 128]).astype(np.float32)
    z = method.encode(x).numpy()
    np.testing.assert_allclose(draw_codes(method, x, seed=0), z, atol=1e-6)
    expected = np.concatenate([z, np.full_like(z, NO_SPREAD)], axis=1)
    np.testing.assert_allclose(posteriors(method, x, seed=0), expected, atol=1e-6)


def test_the_mixture_is_that_of_scikit_learn(run):
    run, dataset = run
    codes = draw_codes(run.method, dataset.train.x, seed=0).astype(np.float64)
    expected = mixture.GaussianMixture(10, max_iter=2000, random_state=0).fit(codes)
    prior = densities.fit(run, 'gaussian_mixture', dataset).method.prior
    found = prior.log_prob(tf.constant(codes[:50], tf.float32))
    np.testing.assert_allclose(found, expected.score_samples(codes[:50]), rtol=1e-3, atol=1e-3)
    z = run.method.sample_latent(20_000, seed=1).numpy()
    np.testing.assert_allclose(z.mean(axis=0), codes.mean(axis=0), atol=0.03 * codes.std())
    np.testing.assert_allclose(np.cov(z.T), np.cov(codes.T), atol=0.05 * codes.var())


@pytest.mark.parametrize('name', DENSITIES)
def test_a_density_is_kept_and_exported(name, run, tmp_path):
    run, dataset = run
    own = run.method.sample_latent(5, seed=3).numpy()
    # The test split is not looked at.
    poisoned = dataclasses.replace(dataset, test=Split(np.full_like(dataset.test.x, np.nan)))
    fitted = densities.fit(run, name, poisoned, steps=steps_of(name))
    z = fitted.method.sample_latent(70, seed=3).numpy()
    assert z.shape == (70, 2) and np.isfinite(z).all() and not np.allclose(z[:5], own)
    np.testing.assert_allclose(fitted.method.sample_latent(5, seed=3), z[:5], atol=1e-6)
    again = densities.open_sampler(run.workdir.path, 'last', name)
    assert again.density == fitted.density and name in again.density
    np.testing.assert_allclose(again.method.sample_latent(70, seed=3), z, atol=1e-6)
    export(
        ExportConfig(workdir=str(run.workdir.path), density=name, export_dir=str(tmp_path / 'm'))
    )
    signatures = tf.saved_model.load(str(tmp_path / 'm')).signatures
    found = signatures['latents'](num=tf.constant(70), seed=tf.constant(3))['latents']
    np.testing.assert_allclose(found, z, atol=1e-5)
    assert json.loads((tmp_path / 'm' / 'model_card.json').read_text())['density'] == again.density
    prior = densities.open_sampler(run.workdir.path, 'last', 'none')
    assert prior.density is None
    np.testing.assert_array_equal(prior.method.sample_latent(5, seed=3), own)


def test_what_is_not_whole_or_not_there(run):
    run, dataset = run
    folder = run.workdir.path
    with pytest.raises(MissingDataError, match='--density=gaussian_mixture'):
        densities.open_sampler(folder, 'last', 'gaussian_mixture')
    with pytest.raises(UsageError, match='--density_steps=6'):
        densities.fit(run, 'gaussian_mixture', dataset, steps=6)
    densities.fit(run, 'gaussian_mixture', dataset)
    tensors = folder / 'density' / '000000030' / 'gaussian_mixture' / 'density.npz'
    kept, manifest = tensors.read_bytes(), tensors.with_suffix('.json').read_text()
    tensors.write_bytes(kept[:-1])
    with pytest.raises(CorruptRunError, match='has changed'):
        densities.open_sampler(folder, 'last', 'gaussian_mixture')
    tensors.write_bytes(kept)
    other = manifest.replace(run.digest, 'f' * 12)
    tensors.with_suffix('.json').write_text(other)
    with pytest.raises(CorruptRunError, match='another checkpoint'):
        densities.open_sampler(folder, 'last', 'gaussian_mixture')
    densities.fit(run, 'gaussian_mixture', dataset)  # again
    assert json.loads(tensors.with_suffix('.json').read_text())['checkpoint'] == [run.digest]
    densities.open_sampler(folder, 'last', 'gaussian_mixture')
    kept, manifest = tensors.read_bytes(), tensors.with_suffix('.json').read_text()
    tensors.with_suffix('.json').write_text('{')
    with pytest.raises(CorruptRunError, match='cannot be used'):
        densities.open_sampler(folder, 'last', 'gaussian_mixture')
    tensors.unlink()
    tensors.with_suffix('.json').write_text(manifest)
    with pytest.raises(CorruptRunError, match='remove'):
        densities.open_sampler(folder, 'last', 'gaussian_mixture')


def test_a_stage_that_was_stopped_goes_on(run, fitted, monkeypatch):
    run, dataset = run
    name = 'latent_gan'  # as any stage
    asked = itertools.count(1)  # once after every call of the loop
    heard = property(lambda _: 15 if next(asked) >= 3 else None)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulShutdown, 'requested', heard)
        with pytest.raises(Interrupted):
            densities.fit(run, name, dataset, steps=STEPS)
    folder = run.workdir.path / 'density' / '000000030' / name
    assert (folder / 'checkpoints').exists() and not (folder / 'density.json').exists()
    with pytest.raises(UsageError, match=f'--density_steps={STEPS}'):
        densities.fit(run, name, dataset, steps=STEPS + 1)
    # It is trained on the codes of before, should they not come out the same now.
    with monkeypatch.context() as patch:
        patch.setattr(latent_models, 'draw_codes', lambda *_, **__: pytest.fail('encoded again'))
        resumed = densities.fit(run, name, dataset, steps=STEPS).method.sample_latent(9, 0).numpy()
    with pytest.raises(UsageError, match=f'was fitted with --density_steps={STEPS}'):
        densities.fit(run, name, dataset, steps=STEPS + 1)
    densities.fit(run, name, dataset)  # as it is
    straight = densities.open_sampler(fitted(name), 'last', name)
    np.testing.assert_array_equal(straight.method.sample_latent(9, 0), resumed)


def test_a_stage_begins_again_on_the_codes_of_another_checkpoint(trained, fitted, tmp_path):
    folder = shutil.copytree(fitted('latent_gan'), tmp_path / 'run')
    run, (_, dataset) = open_run(folder), trained
    before = densities.open_sampler(folder, 'last', 'latent_gan')
    codes = run.workdir.path / 'density' / '000000030' / 'latent_gan' / 'codes.npz'
    with np.load(codes) as kept:
        np.savez(codes, **{**kept, 'checkpoint': 'f' * 12, 'train': kept['train'] + 1.0})
    manifest = codes.with_name('density.json')
    manifest.write_text(manifest.read_text().replace(run.digest, 'f' * 12))
    after = densities.fit(run, 'latent_gan', dataset, steps=STEPS)
    with np.load(codes) as kept:
        assert kept['checkpoint'].tolist() == [run.digest]
    assert after.density == before.density


def test_a_density_stays_when_the_checkpoint_of_its_step_goes(run, monkeypatch):
    run, dataset = run
    _, snapshots = stores(run.workdir, run.config, run.method, initial_state(run.method))
    snapshots.save(run.step)
    both = open_run(run.workdir.path)
    assert both.digest == run.digest and len(both.digests) == 2
    fitted = densities.fit(both, 'latent_gan', dataset, steps=STEPS)
    for path in run.workdir.checkpoints.glob('ckpt-*'):
        path.unlink()
    alone = open_run(run.workdir.path, run.step)
    assert alone.digest != run.digest and alone.digests < both.digests
    assert densities.open_sampler(run.workdir.path, run.step, 'latent_gan').density
    monkeypatch.setattr(latent_models, 'draw_codes', lambda *_, **__: pytest.fail('encoded again'))
    assert densities.fit(alone, 'latent_gan', dataset).density == fitted.density
    (run.workdir.path / 'density' / '000000030' / 'latent_gan' / 'density.json').unlink()
    assert densities.fit(alone, 'latent_gan', dataset, steps=STEPS).density == fitted.density


def test_one_process_at_a_time_fits_a_density(run, monkeypatch):
    run, dataset = run
    manifest = run.workdir.path / 'density' / '000000030' / 'gaussian_mixture' / 'density.json'
    manifest.parent.mkdir(parents=True)
    with open(manifest.parent.with_suffix('.lock'), 'w') as file:
        lock(file)
        with pytest.raises(UsageError, match='another process fits .*gaussian_mixture'):
            densities.fit(run, 'gaussian_mixture', dataset)
    fitted, text = densities.fit(run, 'gaussian_mixture', dataset).density, manifest.read_text()
    manifest.unlink()
    # While this one waits for the lock another one finishes.
    monkeypatch.setattr(densities, 'lock', lambda _: manifest.write_text(text))
    monkeypatch.setattr(densities, 'KINDS', {'gaussian_mixture': densities.KINDS['second_stage']})
    monkeypatch.setattr(latent_models, 'fit', lambda *_: pytest.fail('fitted again'))
    densities._fit(run, 'gaussian_mixture', dataset, None)
    monkeypatch.undo()
    assert densities.fit(run, 'gaussian_mixture', dataset).density == fitted


def test_a_stage_has_one_device_and_the_arithmetic_of_its_run(run, monkeypatch):
    run, dataset = run
    monkeypatch.setattr(
        'flexae_tf.training.trainer.choose_strategy', lambda: pytest.fail('all devices')
    )
    densities.fit(run, 'second_stage', dataset, steps=STEPS)
    own = dataclasses.replace(run.config, jit_compile=True, deterministic=True, precision='float32')
    config = _config('latent_gan', run._replace(config=own))
    assert config.jit_compile and config.deterministic and config.precision == 'float32'


def test_what_went_wrong_in_a_stage_is_said_to_be_of_the_stage(run, monkeypatch):
    run, dataset = run

    def fail(self):
        raise NonFiniteLossError('loss/critic is nan')

    monkeypatch.setattr(Trainer, 'train', fail)
    with pytest.raises(NonFiniteLossError, match='^training latent_gan in .*: loss/critic is nan'):
        densities.fit(run, 'latent_gan', dataset, steps=STEPS)


@pytest.mark.parametrize('name', STAGES)
def test_a_stage_samples_with_what_it_learned(fitted, name):
    run = densities.open_sampler(fitted(name), 'last', name)
    stage = open_run(run.workdir.path / 'density' / '000000030' / name).method  # its checkpoint's
    prior = TwoStages(stage) if name == 'second_stage' else stage.prior
    np.testing.assert_allclose(
        run.method.sample_latent(70, 3), prior.sample(70, 3), rtol=1e-5, atol=1e-5
    )
    fresh = build_method(stage.config, stage.spec)
    for a, b in zip(stage.trainable_variables, fresh.trainable_variables, strict=True):
        last_bias = a.path.startswith('critic') and a.shape == (1,)  # which has no gradient
        assert last_bias == np.array_equal(a, b), a.path


def test_codes_are_drawn_with_the_largest_seed(run):
    run, _ = run
    x = np.zeros([600, *run.spec.shape], np.float32)  # of more than one batch
    assert draw_codes(run.method, x, seed=MAX_SEED).shape == (600, 2)


def test_scores_tell_densities_apart(run):
    run, _ = run
    folder = str(run.workdir.path)
    options = dict(workdir=folder, metrics='fd', num_examples=200, kinds='gen')
    evaluate(EvaluateConfig(**options))
    evaluate(EvaluateConfig(**options, density='gaussian_mixture'))
    evaluate(EvaluateConfig(**options, density='gaussian_mixture'))
    records = read_jsonl(run.workdir.scores)
    assert [bool(r['density']) for r in records] == [False, True]
    assert records[0]['metric'] == records[1]['metric']
    assert records[0]['protocol'] == records[1]['protocol']
    assert records[0]['value'] != records[1]['value']


def test_codes_are_scored_as_draws_of_their_posteriors(run):
    """The prior is to have the law of these, not that of the posteriors' means."""
    run, dataset = run
    folder = str(run.workdir.path)
    evaluate(EvaluateConfig(workdir=folder, num_examples=200, kinds='codes'))
    scores = {r['stem']: r for r in read_jsonl(run.workdir.scores)}
    x = dataset.test.x[fixed_permutation(len(dataset.test), Purpose.EVALUATION)[:200]]
    drawn = latent.scale(draw_codes(run.method, x, seed=0))
    assert scores['z_scale']['value'] == pytest.approx(drawn, rel=1e-5)
    assert drawn > 1.01 * latent.scale(np.asarray(run.method.encode(x)))
    assert {r['fields']['features'] for r in scores.values()} == {'posterior_samples'}
    assert scores['z_scale']['metric'] == 'z_scale_200_codes'
    said = Summaries(run.method, dataset, run.config, None).sample(0)
    drawn = draw_codes(run.method, dataset.validation.x[:MONITORED], seed=0)
    assert said['latent/z_scale'] == pytest.approx(latent.scale(drawn), rel=1e-5)


def stage(name, size, **options):
    config = TrainConfig(
        method=name, dataset='codes', network='mnist', latent_dim=4, batch_size=8, **options
    )
    return build_method(config, DatasetSpec('codes', 'vectors', (size,), 100, 100, (-9.0, 9.0)))


def test_the_second_stage_written_out():
    method = stage('second_stage', 8)
    assert [layer.shape for layer in method.encoder.outputs] == [(None, 4), (None, 4)]
    sizes = [v.shape for v in method.encoder.weights]
    assert sizes == [
        *((4, 1024), (1024,), (1024, 1024), (1024,), (1024, 1024), (1024,)),
        *((1028, 4), (4,)) * 2,
    ]
    assert [v.shape for v in method.decoder.weights][-2:] == [(1028, 4), (4,)]
    pairs = np.random.default_rng(0).normal(size=[1, 8, 8]).astype(np.float32)
    n = noise.normal(noise.key(0, 5, Role.POSTERIOR, 0), [8, 4]).numpy()
    z = pairs[0, :, :4] + np.exp(pairs[0, :, 4:] / 2) * n
    mean, log_variance = (t.numpy() for t in method.encoder(z))
    n = noise.normal(noise.key(0, 5, Role.POSTERIOR, 1), [8, 4]).numpy()
    z_hat = method.decoder(mean + np.exp(log_variance / 2) * n).numpy()
    square = np.mean(np.sum((z - z_hat) ** 2, axis=1))
    kl = np.mean(np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=1)) / 2
    values = method.train_step(tf.constant(pairs), tf.constant(5, tf.int64))
    expected = square / 2 + 4 * 0.5 * np.log(2 * np.pi) + kl  # the scale is still 1
    assert float(values['loss/total']) == pytest.approx(expected, rel=1e-4)
    for v in method.trainable_variables:
        assert np.isfinite(v.numpy()).all()
    assert float(losses.limited_log_scale(method.log_scale)) == pytest.approx(1e-3, rel=0.02)
    # And what the first stage samples from: a code, with the noise of this scale.
    method.log_scale.assign(-0.7)
    key = noise.key(2, 0, Role.SAMPLE)
    u, n = np.split(noise.normal(key, [5, 8]).numpy(), 2, axis=1)
    drawn = TwoStages(method).sample_with_key(5, key)
    np.testing.assert_allclose(drawn, method.decoder(u) + np.exp(-0.7) * n, rtol=1e-4, atol=1e-5)
    assert float(losses.limited_log_scale(tf.constant(-7.0))) == -6.0


@pytest.mark.parametrize('off', [-0.3, 0.3])
def test_the_scale_goes_to_the_error(off):
    """Its optimum is the root of the mean square error of a value."""
    method, twin = stage('second_stage', 8), stage('second_stage', 8)
    pairs = tf.constant(np.random.default_rng(0).normal(size=[1, 8, 8]), tf.float32)
    square = float(twin.train_step(pairs, tf.constant(0, tf.int64))['loss/ae'])
    start = np.log(square / 4.0) / 2.0 + off
    method.log_scale.assign(start)
    method.train_step(pairs, tf.constant(0, tf.int64))
    assert (float(method.log_scale) - start) * off < 0.0


def test_the_second_stage_finds_a_manifold():
    """Codes on a line in four dimensions: the scale shrinks, samples lie along the line."""
    method = stage('second_stage', 8, training_steps=900, ae_learning_rate=3e-3)
    rng = np.random.default_rng(0)
    step_fn = tf.function(method.train_step)
    line, scales = np.array([3.0, -3.0, 1.5, 0.0]), []
    for step in range(90):
        mean = rng.normal(size=[1, 32, 1]) * line
        pairs = np.concatenate([mean, np.full_like(mean, -12.0)], axis=2).astype(np.float32)
        values = step_fn(tf.constant(pairs), tf.constant(step, tf.int64))
        scales.append(float(values['decoder/log_scale']))
    assert values['loss/ae'] < 0.2 * np.sum(line**2)
    # Of a decoder that had learned nothing it would go to ln(4.5 / 2) = 0.8.
    assert scales[89] < min(0.02, scales[29])
    z = method.decode(method.sample_latent(500, seed=0)).numpy()[:, :4]
    direction = line / np.linalg.norm(line)
    along = z @ direction
    across = z - np.outer(along, direction)
    assert 3.0 < np.std(along) < 6.0  # the line's own: 4.5
    assert np.sqrt(np.mean(np.sum(across**2, axis=1))) < 0.05 * np.std(along)


def test_the_latent_gan_is_flexae_without_its_auto_encoder():
    method = stage('latent_gan', 4)
    assert [v.shape[0] for v in method.generator.weights][::2] == [4, 1024, 512]  # Table 7
    assert [v.shape[0] for v in method.critic.weights][::2] == [4, 512, 256, 128, 128]
    codes = np.random.default_rng(0).normal(size=[5, 8, 4]).astype(np.float32)
    method.train_step(tf.constant(codes), tf.constant(0, tf.int64))
    assert int(method.critic_optimizer.iterations) == 5
    assert int(method.gen_optimizer.iterations) == 1
    np.testing.assert_array_equal(method.reconstruct(codes[0]), codes[0])


def test_the_losses_of_the_latent_gan_written_out():
    method, twin = (stage('latent_gan', 4, critic_steps=1) for _ in '12')
    codes = np.random.default_rng(0).normal(size=[1, 8, 4]).astype(np.float32)
    z_hat = twin.generator(noise.normal(noise.key(0, 0, Role.CRITIC_NOISE, 0), [8, 4]))
    values = method.train_step(tf.constant(codes), tf.constant(0, tf.int64))
    gap = np.mean(twin.critic(codes[0])) - np.mean(twin.critic(z_hat))
    assert float(values['latent/wasserstein']) == pytest.approx(gap, rel=1e-3, abs=1e-6)
    assert float(values['loss/gen']) == pytest.approx(-np.mean(method.critic(z_hat)), rel=1e-3)


@pytest.mark.parametrize('name', STAGES)
def test_ten_steps_of_a_stage_are_six_and_four_resumed(name, tmp_path):
    size = 8 if name == 'second_stage' else 4
    codes = np.random.default_rng(0).normal(size=[5, 8, size]).astype(np.float32)

    def run(method, steps):
        for step in steps:
            blocks = tf.constant(codes[: method.batches_per_step])
            method.train_step(blocks, tf.constant(step, tf.int64))

    def store(method):
        workdir = Workdir(tmp_path)
        workdir.checkpoints.mkdir(exist_ok=True)
        return stores(workdir, method.config, method, initial_state(method))[0]

    whole, resumed = (stage(name, size, training_steps=10) for _ in '12')
    run(whole, range(6))
    store(whole).save(6)
    run(whole, range(6, 10))
    store(resumed).restore(6)
    run(resumed, range(6, 10))
    for a, b in zip(whole.state, resumed.state, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


def test_stages_have_the_sizes_of_their_run(run):
    run, _ = run
    images = DatasetSpec('mnist', 'images', (28, 28, 1), 100, 100, (0.0, 1.0))
    config = TrainConfig(dataset='mnist', latent_dim=6, noise_dim=3, generator='capacity_2', seed=7)
    config = _config('latent_gan', Run(None, config, images, run.workdir, 1, '', frozenset()))
    assert (config.network, config.latent_dim, config.noise_dim) == ('mnist', 6, 3)
    assert (config.generator, config.seed) == ('capacity_2', 7)
    assert config.gen_learning_rate == 5e-4 and config.critic_learning_rate == 1e-4


def test_stages_are_not_methods_of_the_flag():
    for options in (dict(method='latent_gan'), dict(dataset='codes')):
        with pytest.raises(UsageError, match='--density=NAME'):
            TrainConfig(**options)


def test_too_few_codes(run):
    run, dataset = run
    few = Dataset(dataset.spec, dataset.train.take(np.arange(9)), dataset.validation, dataset.test)
    with pytest.raises(UsageError, match='9 training examples are too few'):
        densities.fit(run, 'gaussian_mixture', few)
