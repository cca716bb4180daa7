"""Tests of the VAE with the implicit optimal prior."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.noise import Role
from tests.methods.building import build

VECTORS = DatasetSpec('synthetic_2d', 'vectors', (9,), 15_000, 10_000, (-1.0, 1.0))
# Rates too small to change float32 values.
FROZEN = dict(ae_learning_rate=1e-30, critic_learning_rate=1e-30)


def make(**options):
    small = dict(method='vae_iop', latent_dim=3, batch_size=6, critic_steps=2, training_steps=100)
    return build(TrainConfig(**{**small, **options}), VECTORS)


def batches_for(method):
    shape = [method.batches_per_step, method.config.batch_size, *method.spec.shape]
    return tf.constant(np.random.RandomState(0).uniform(-1, 1, shape), tf.float32)


def run(method, batches, step):
    values = method.train_step(batches, tf.constant(step, tf.int64))
    return {tag: float(value) for tag, value in values.items()}


def opinionated(method):
    """Returns the method with a classifier whose logits are far from 0."""
    method.ratio.last.kernel.assign(method.ratio.last.kernel * 4.0)
    return method


def ratio_by_hand(ratio, z, keep=1.0):
    weights = [v.numpy() for v in ratio.weights]
    *hidden, last = zip(weights[::2], weights[1::2], strict=True)
    for kernel, bias in hidden:
        z = np.tanh(z @ kernel + bias)
    return (z * keep) @ last[0] + last[1]


@pytest.mark.parametrize('source', ['fresh', 'shared'])
def test_iop_losses_equal_their_equations(source):
    method = opinionated(make(critic_batches=source, **FROZEN))
    assert method.batches_per_step == (3 if source == 'fresh' else 1)
    batches = batches_for(method)
    values = run(method, batches, 4)
    # Auto-encoder step, at 0.4 of the warm-up.
    x = batches[0].numpy()
    mean, log_variance = (t.numpy() for t in method.encoder(x))
    eps = noise.normal(noise.key(0, 4, Role.POSTERIOR), [6, 3]).numpy()
    z = mean + np.exp(log_variance / 2) * eps
    sse = np.mean(np.sum((x - method.decoder(z).numpy()) ** 2, axis=1))
    kl = np.mean(np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=1)) / 2
    log_ratio = np.mean(ratio_by_hand(method.ratio, z))
    assert values['loss/ae'] == pytest.approx(sse, rel=1e-5)
    assert values['loss/kl'] == pytest.approx(kl, rel=1e-4)
    assert values['latent/kl'] == pytest.approx(log_ratio, rel=1e-4) and abs(log_ratio) > 0.1
    assert values['loss/total'] == pytest.approx(sse / 2 + 0.4 * (kl - log_ratio), rel=1e-5)
    # Second classifier step: new samples of codes and prior, and the second pair of masks.
    x = batches[2 if source == 'fresh' else 0].numpy()
    mean, log_variance = (t.numpy() for t in method.encoder(x))
    eps = noise.normal(noise.key(0, 4, Role.POSTERIOR, 2), [6, 3]).numpy()
    z = mean + np.exp(log_variance / 2) * eps
    n = noise.normal(noise.key(0, 4, Role.CRITIC_NOISE, 1), [6, 3]).numpy()
    keep, keep_n = (
        2.0 * (noise.uniform(noise.key(0, 4, Role.DROPOUT, i), [6, 500]).numpy() > 0.5)
        for i in (2, 3)
    )
    real, fake = ratio_by_hand(method.ratio, z, keep), ratio_by_hand(method.ratio, n, keep_n)
    expected = np.mean(np.log1p(np.exp(-real))) + np.mean(np.log1p(np.exp(fake)))
    assert values['loss/critic'] == pytest.approx(expected, rel=1e-4)
    w = np.exp(ratio_by_hand(method.ratio, n))
    share = w.sum() ** 2 / (w**2).sum() / 6
    assert values['latent/normalized_ess'] == pytest.approx(share, rel=1e-4) and share < 0.95


def test_log_ratio_has_a_gradient_to_the_encoder():
    """The gradient of the auto-encoder's loss passes through T to z."""
    method = opinionated(make(**FROZEN))
    batches = batches_for(method)
    x, norms = batches[0], []
    for stopped in (False, True):
        with tf.GradientTape() as tape:
            mean, log_variance = method.encoder(x)
            z = mean + tf.exp(log_variance / 2) * noise.normal(
                noise.key(0, 50, Role.POSTERIOR), [6, 3]
            )
            kl = tf.reduce_sum(tf.exp(log_variance) + mean**2 - 1.0 - log_variance, axis=1) / 2
            sse = tf.reduce_sum((x - method.decoder(z)) ** 2, axis=1)
            t = method.ratio(tf.stop_gradient(z) if stopped else z)[:, 0]
            loss = tf.reduce_mean(sse / 2 + kl - t)
        norms.append(tf.linalg.global_norm(tape.gradient(loss, method.autoencoder_variables)))
    assert run(method, batches, 50)['grad_norm/ae'] == pytest.approx(float(norms[0]), rel=1e-4)
    assert abs(norms[0] - norms[1]) > 0.01 * norms[0]


@pytest.mark.parametrize('kl_weight', [None, 0.2])
def test_iop_weight_is_warmed_up(kl_weight):
    method = opinionated(make(critic_steps=1, kl_weight=kl_weight, **FROZEN))
    weights = []
    for step in (0, 3, 10, 99):
        values = run(method, batches_for(method), step)
        bound = values['loss/kl'] - values['latent/kl']
        weights.append((values['loss/total'] - values['loss/ae'] / 2) / bound)
    expected = (kl_weight or 1.0) * np.array([0.0, 0.3, 1.0, 1.0])
    np.testing.assert_allclose(weights, expected, atol=1e-4)


@pytest.mark.parametrize(
    ('frozen', 'still'), [('ae', ('encoder', 'decoder')), ('critic', ('ratio_estimator',))]
)
def test_iop_update_changes_its_own_variables_only(frozen, still):
    method = make(**{f'{frozen}_learning_rate': 1e-30})
    before = {v.path: v.numpy() for v in method.trainable_variables}
    run(method, batches_for(method), 50)
    for network in ('encoder', 'decoder', 'ratio'):
        for v in getattr(method, network).trainable_variables:
            same = np.allclose(before[v.path], v.numpy(), rtol=0.0, atol=1e-20)
            assert same == (getattr(method, network).name in still), v.path


def test_log_ratio_is_limited_and_without_dropout():
    method = make()
    z = noise.normal(noise.key(0, 0, Role.SAMPLE), [50, 3])
    np.testing.assert_array_equal(method.log_ratio(z), method.log_ratio(z))
    np.testing.assert_allclose(method.log_ratio(z), ratio_by_hand(method.ratio, z), atol=1e-5)
    for bias in (100.0, -100.0):
        method.ratio.last.bias.assign([bias])
        np.testing.assert_array_equal(method.log_ratio(z), np.full([50, 1], bias / 5))


def test_dropout_is_a_function_of_its_key():
    key = noise.key(0, 4, Role.DROPOUT, 1)
    keep = noise.dropout(key, [400, 500], rate=0.2).numpy()
    np.testing.assert_array_equal(keep, noise.dropout(key, [400, 500], rate=0.2))
    assert set(np.unique(keep)) == {0.0, np.float32(1.25)}
    assert np.mean(keep == 0) == pytest.approx(0.2, abs=0.005)
    for other in (noise.key(0, 5, Role.DROPOUT, 1), noise.key(0, 4, Role.DROPOUT, 2)):
        assert np.mean(keep == noise.dropout(other, [400, 500], rate=0.2)) < 0.7


def test_log_ratio_of_two_gaussians_is_learned():
    """Every posterior is N(c, s^2), so that q(z) and ln q - ln p are known."""
    options = dict(latent_dim=2, batch_size=64, critic_steps=1, training_steps=1000)
    method = make(**options, ae_learning_rate=1e-30, critic_learning_rate=1e-3)
    c, s = np.array([1.0, -0.5], np.float32), 0.6
    for v in method.encoder.trainable_variables:
        v.assign(tf.zeros_like(v))
    method.encoder.get_layer('fc_mean').bias.assign(c)
    method.encoder.get_layer('fc_log_variance').bias.assign(np.full(2, 2 * np.log(s)))

    @tf.function
    def train(batches, num):
        for step in tf.range(num):
            method.train_step(batches, step)

    train(batches_for(method), tf.constant(300, tf.int64))
    n = noise.normal(noise.key(5, 0, Role.SAMPLE), [2, 2000, 2]).numpy()
    z = np.concatenate([n[0], c + s * n[1]])  # of the prior and of q
    z = z[np.linalg.norm((z - c) / s, axis=1) < 2.5]  # where both densities have samples
    square = np.sum(z**2, axis=1) - np.sum(((z - c) / s) ** 2, axis=1)
    expected = square / 2 - 2 * np.log(s)
    learned = method.log_ratio(z).numpy()[:, 0]
    # Measured: correlation 0.98, mean error 0.18, at a standard deviation of 0.98.
    assert np.corrcoef(learned, expected)[0, 1] > 0.96
    assert np.mean(np.abs(learned - expected)) < 0.3
    # Its mean over q estimates KL(q || N(0, I)); the prior is q.
    kl = np.sum(c**2 + s**2 - 1 - 2 * np.log(s)) / 2
    assert np.mean(method.log_ratio(c + s * n[1])) == pytest.approx(kl, abs=0.2)
    codes = method.sample_latent(128, seed=1).numpy()
    np.testing.assert_allclose(codes.mean(axis=0), c, atol=0.25)
    np.testing.assert_allclose(codes.std(axis=0), [s, s], atol=0.15)
