"""Methods that are trained on the codes of another method: second stage and latent GAN."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import Dataset, DatasetSpec, Split
from flexae_tf.methods.second_stage import TwoStagePrior
from flexae_tf.noise import Role
from flexae_tf.training.restore import initial_state, stores
from flexae_tf.training.run_log import PrintLog
from flexae_tf.training.summaries import Summaries
from flexae_tf.training.workdir import Workdir
from tests.methods import building

CODE_SIZES = {'second_stage': 8, 'latent_gan': 4}  # of an example; latent_dim is 4


def build(name, **options):
    config = TrainConfig(
        method=name, dataset='codes', network='mnist', latent_dim=4, batch_size=8, **options
    )
    spec = DatasetSpec('codes', 'vectors', (CODE_SIZES[name],), 100, 100, (-9.0, 9.0))
    return building.build(config, spec)


def test_second_stage_networks_are_skip_perceptrons():
    method = build('second_stage')
    assert [layer.shape for layer in method.encoder.outputs] == [(None, 4), (None, 4)]
    sizes = [v.shape for v in method.encoder.weights]
    assert sizes == [
        *((4, 1024), (1024,), (1024, 1024), (1024,), (1024, 1024), (1024,)),
        *((1028, 4), (4,)) * 2,
    ]
    assert [v.shape for v in method.decoder.weights][-2:] == [(1028, 4), (4,)]


def test_second_stage_train_step_equals_its_equations():
    method = build('second_stage')
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


def test_second_stage_samples_codes_of_samples():
    method = build('second_stage')
    pairs = np.random.default_rng(0).normal(size=[8, 8]).astype(np.float32)
    first, second = (noise.normal(noise.key(7, 0, Role.POSTERIOR, i), [8, 4]) for i in range(2))
    mean, log_variance = method.posterior(pairs[:, :4] + np.exp(pairs[:, 4:] / 2) * first)
    expected = mean + tf.exp(log_variance / 2) * second
    np.testing.assert_allclose(method.sample_posterior(pairs, 7), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', CODE_SIZES)
def test_error_of_examples_is_no_statistic_of_latent_models(name):
    method, rng = build(name), np.random.default_rng(0)
    split = Split(rng.normal(size=[20, CODE_SIZES[name]]).astype(np.float32))
    statistics = Summaries(method, Dataset(method.spec, split, split, split), PrintLog()).sample(1)
    assert 'latent/z_scale' in statistics and 'validation/ae' not in statistics


def test_two_stages_sample_codes_with_the_decoder_noise():
    method = build('second_stage')
    method.log_scale.assign(-0.7)
    key = noise.key(2, 0, Role.SAMPLE)
    u, n = np.split(noise.normal(key, [5, 8]).numpy(), 2, axis=1)
    z = TwoStagePrior(method).sample_with_key(5, key)
    np.testing.assert_allclose(z, method.decoder(u) + np.exp(-0.7) * n, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('off', [-0.3, 0.3])
def test_second_stage_log_scale_moves_to_the_error(off):
    # The optimum is the root of the mean squared error of a value.
    method, twin = build('second_stage'), build('second_stage')
    pairs = tf.constant(np.random.default_rng(0).normal(size=[1, 8, 8]), tf.float32)
    square = float(twin.train_step(pairs, tf.constant(0, tf.int64))['loss/ae'])
    start = np.log(square / 4.0) / 2.0 + off
    method.log_scale.assign(start)
    method.train_step(pairs, tf.constant(0, tf.int64))
    assert (float(method.log_scale) - start) * off < 0.0


def test_second_stage_learning_rate_is_halved_after_three_and_six_eighths():
    method = build('second_stage', training_steps=800, ae_learning_rate=1e-4)
    for step, rate in ((0, 1e-4), (299, 1e-4), (300, 5e-5), (599, 5e-5), (600, 2.5e-5)):
        method.ae_optimizer.iterations.assign(step)
        assert float(method.ae_optimizer.learning_rate) == pytest.approx(rate), step


def test_second_stage_learns_a_line_in_four_dimensions():
    # The scale shrinks, and samples lie along the line.
    method = build('second_stage', training_steps=900, ae_learning_rate=3e-3)
    rng = np.random.default_rng(0)
    step_fn = tf.function(method.train_step)
    line, scales = np.array([3.0, -3.0, 1.5, 0.0]), []
    for step in range(90):
        mean = rng.normal(size=[1, 32, 1]) * line
        pairs = np.concatenate([mean, np.full_like(mean, -12.0)], axis=2).astype(np.float32)
        values = step_fn(tf.constant(pairs), tf.constant(step, tf.int64))
        scales.append(float(values['decoder/log_scale']))
    assert values['loss/ae'] < 0.2 * np.sum(line**2)
    # It would go to ln(4.5 / 2) = 0.8 if the decoder learned nothing.
    assert scales[89] < min(0.02, scales[29])
    z = method.decode(method.sample_latent(500, seed=0)).numpy()[:, :4]
    direction = line / np.linalg.norm(line)
    along = z @ direction
    across = z - np.outer(along, direction)
    assert 3.0 < np.std(along) < 6.0  # 4.5 for the codes
    assert np.sqrt(np.mean(np.sum(across**2, axis=1))) < 0.05 * np.std(along)


def test_latent_gan_has_the_networks_and_updates_of_flexae():
    method = build('latent_gan')
    assert [v.shape[0] for v in method.generator.weights][::2] == [4, 1024, 512]  # Table 7
    assert [v.shape[0] for v in method.critic.weights][::2] == [4, 512, 256, 128, 128]
    codes = np.random.default_rng(0).normal(size=[5, 8, 4]).astype(np.float32)
    method.train_step(tf.constant(codes), tf.constant(0, tf.int64))
    assert int(method.critic_optimizer.iterations) == 5
    assert int(method.gen_optimizer.iterations) == 1
    np.testing.assert_array_equal(method.reconstruct(codes[0]), codes[0])


def test_latent_gan_losses_equal_their_equations():
    method, twin = (build('latent_gan', critic_steps=1) for _ in '12')
    codes = np.random.default_rng(0).normal(size=[1, 8, 4]).astype(np.float32)
    z_hat = twin.generator(noise.normal(noise.key(0, 0, Role.CRITIC_NOISE, 0), [8, 4]))
    values = method.train_step(tf.constant(codes), tf.constant(0, tf.int64))
    gap = np.mean(twin.critic(codes[0])) - np.mean(twin.critic(z_hat))
    assert float(values['latent/wasserstein']) == pytest.approx(gap, rel=1e-3, abs=1e-6)
    assert float(values['loss/gen']) == pytest.approx(-np.mean(method.critic(z_hat)), rel=1e-3)


@pytest.mark.parametrize('name', CODE_SIZES)
def test_latent_model_resumes_bit_identically(name, tmp_path):
    codes = np.random.default_rng(0).normal(size=[5, 8, CODE_SIZES[name]]).astype(np.float32)

    def run(method, steps):
        for step in steps:
            batches = tf.constant(codes[: method.batches_per_step])
            method.train_step(batches, tf.constant(step, tf.int64))

    def store(method):
        workdir = Workdir(tmp_path)
        workdir.checkpoints.mkdir(exist_ok=True)
        state = initial_state(method)
        state.step.assign(6)
        return stores(workdir, method.config, method, state)[0]

    whole, resumed = (build(name, training_steps=10) for _ in '12')
    run(whole, range(6))
    store(whole).save(6)
    run(whole, range(6, 10))
    store(resumed).restore(6)
    run(resumed, range(6, 10))
    for a, b in zip(whole.state, resumed.state, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
