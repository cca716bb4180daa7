"""Tests of MaskAAE."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.data.batches import Batches
from flexae_tf.methods import maskaae
from flexae_tf.noise import Role
from tests.methods.building import build

OPTIMIZERS = ('ae', 'critic', 'enc', 'mask')
# Rates too small to change float32 values.
FROZEN = dict(ae_learning_rate=1e-30, critic_learning_rate=1e-30, enc_learning_rate=1e-30)


def vectors(size=9):
    return DatasetSpec('synthetic_2d', 'vectors', (size,), None, None, (-1.0, 1.0))


def images(*shape):
    return DatasetSpec('mnist', 'images', shape, None, None, (0.0, 1.0))


def make(spec=None, **options):
    small = dict(method='mask_aae', mask_fidelity_weight=10.0, width_multiplier=0.03, seed=2)
    small |= dict(latent_dim=4, batch_size=6, critic_steps=2, training_steps=144)
    return build(TrainConfig(**{**small, **options}), spec or vectors())


def batches_for(method):
    shape = [method.batches_per_step, method.config.batch_size, *method.spec.shape]
    return tf.constant(np.random.RandomState(0).rand(*shape), tf.float32)


def run(method, batches, step=0):
    values = method.train_step(batches, tf.constant(step, tf.int64))
    return {tag: float(value) for tag, value in values.items()}


def key(step, role, index=0):
    return noise.key(2, step, role, index)


def slopes(critic, z):
    """Returns the norms of the critic's gradients at codes."""
    z = tf.constant(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        score = critic(z)
    return np.linalg.norm(tape.gradient(score, z), axis=1)


@pytest.mark.parametrize('source', ['fresh', 'shared'])
def test_mask_aae_losses_equal_their_equations(source):
    method = make(critic_batches=source, **FROZEN)
    assert method.batches_per_step == (5 if source == 'fresh' else 1)
    method.critic.layers[-1].kernel.assign(method.critic.layers[-1].kernel * 10.0)
    method.mask_weights.assign([0.05, 0.2, 1.0, 5.0])
    batches, step = batches_for(method), 40
    values = run(method, batches, step)

    def x(block):
        return batches[block if source == 'fresh' else 0].numpy()

    v = method.mask_weights.numpy()
    a = 1 - np.exp(-v)
    code = method.encoder(x(0)).numpy()
    error = (x(0) - method.decoder(a * code).numpy()) ** 2
    assert values['loss/ae'] == pytest.approx(np.mean(np.sum(error, axis=1)), rel=1e-5)
    variance = np.mean((code - code.mean(axis=0)) ** 2 * np.exp(-10 * a**2))
    assert values['loss/total'] == pytest.approx(np.mean(error) + 100 * variance, rel=1e-4)
    assert 100 * variance > 0.1 * values['loss/total']
    # Second critic step.
    z = a * method.encoder(x(2)).numpy()
    p = a * noise.normal(key(step, Role.CRITIC_NOISE, 1), [6, 4]).numpy()
    b = noise.uniform(key(step, Role.CRITIC_MIX, 1), [6, 1]).numpy()
    penalty = np.mean((slopes(method.critic, b * z + (1 - b) * p) - 1) ** 2)
    gap = np.mean(method.critic(z)) - np.mean(method.critic(p))
    assert values['latent/wasserstein'] == pytest.approx(gap, rel=1e-4) and abs(gap) > 0.1
    assert values['loss/gradient_penalty'] == pytest.approx(penalty, rel=1e-4)
    assert values['loss/critic'] == pytest.approx(-gap + 10 * penalty, rel=1e-4)
    # Encoder step.
    z = a * method.encoder(x(3)).numpy()
    assert values['loss/enc'] == pytest.approx(np.mean(method.critic(z)), rel=1e-4)
    # Mask step: 40 of 144 iterations are five doublings.
    z = a * method.encoder(x(4)).numpy()
    p = a * noise.normal(key(step, Role.CRITIC_NOISE, 2), [6, 4]).numpy()
    gap = np.mean(method.critic(z)) - np.mean(method.critic(p))
    fidelity = np.mean((x(4) - method.decoder(z).numpy()) ** 2)
    indecision = np.sum(a * (1 - a))
    expected = 10 * fidelity + (1 + gap) ** 2 + 2 / 4 * 2**5 * indecision
    assert values['loss/mask'] == pytest.approx(expected, rel=1e-4)
    assert values['latent/mask_polarization'] == pytest.approx(indecision, rel=1e-5)
    assert values['latent/active_dims'] == np.sum(a >= 0.1)


@pytest.mark.parametrize('shape', [(28, 28, 1), (32, 32, 3)])
def test_reconstruction_loss_of_gray_images_is_the_cross_entropy(shape):
    method = make(images(*shape), critic_steps=1, critic_batches='shared', **FROZEN)
    x = batches_for(method)
    a = method.mask().numpy()
    code = method.encoder(x[0], training=True).numpy()
    x_hat = method.decoder(a * code, training=True).numpy()
    x_ = x[0].numpy()
    if shape[-1] == 1:
        error = -np.mean(x_ * np.log(x_hat) + (1 - x_) * np.log(1 - x_hat))
    else:
        error = np.mean((x_ - x_hat) ** 2)
    variance = np.mean((code - code.mean(axis=0)) ** 2 * np.exp(-10 * a**2))
    values = run(method, x)
    assert values['loss/total'] == pytest.approx(error + 100 * variance, rel=1e-3)
    square = np.mean(np.sum((x_ - x_hat) ** 2, axis=(1, 2, 3)))
    assert values['loss/ae'] == pytest.approx(square, rel=1e-3)


@pytest.mark.parametrize('active', OPTIMIZERS)
def test_mask_aae_update_changes_its_own_variables_only(active, monkeypatch):
    method = make()
    for name in OPTIMIZERS:
        if name != active:
            optimizer = getattr(method, f'{name}_optimizer')
            monkeypatch.setattr(optimizer, 'apply_gradients', lambda pairs: None)
    before = {v.path: v.numpy() for v in method.trainable_variables}
    run(method, batches_for(method))
    own = {
        'ae': ('encoder', 'decoder'),
        'critic': ('critic',),
        'enc': ('encoder',),
        'mask': ('mask_aae',),
    }[active]
    for v in method.trainable_variables:
        network = v.path.split('/')[0]
        changed = not np.array_equal(before[v.path], v.numpy())
        if network == 'critic' and v.shape == (1,):
            continue  # the last bias of a critic has no gradient: scores enter as differences
        assert changed == (network in own), v.path
    updates = {name: int(getattr(method, f'{name}_optimizer').iterations) for name in OPTIMIZERS}
    assert updates == {**dict.fromkeys(OPTIMIZERS, 0), active: 2 if active == 'critic' else 1}


def test_mask_stays_in_its_range():
    method = make(ae_learning_rate=0.5)
    batches, closed = batches_for(method), 0
    method.mask_weights.assign([0.01, 0.02, 0.1, 6.0])
    for step in range(140, 144):  # where the polarization penalty is largest
        run(method, batches, step)
        v = method.mask_weights.numpy()
        a = method.mask().numpy()
        assert (v >= 0).all() and (a >= 0).all() and (a <= 1).all()
        closed += np.sum(v == 0)
    assert closed > 0  # without the constraint, some values leave the range


def test_initial_mask_weights_are_uniform_and_seeded():
    v = make(latent_dim=500).mask_weights.numpy()
    assert 0 < v.min() < 0.1 and 4.9 < v.max() < 5 and np.mean(v) == pytest.approx(2.5, abs=0.2)
    np.testing.assert_array_equal(v, make(latent_dim=500).mask_weights.numpy())
    other = make(latent_dim=500, seed=3).mask_weights.numpy()
    assert abs(np.corrcoef(v, other)[0, 1]) < 0.2


@pytest.mark.parametrize('latent_dim', [32, 128])
def test_mask_aae_schedules_scale_with_the_training(latent_dim):
    method = make(latent_dim=latent_dim, training_steps=360, ae_learning_rate=1e-3)

    def weight(step):
        return float(method.polarization_weight(tf.constant(step, tf.int64)))

    assert weight(0) == weight(19) == 2 / latent_dim  # 360 / 72 * 4 iterations
    assert weight(20) == weight(39) == 4 / latent_dim
    doublings = {32: 15, 128: 17}[latent_dim]
    assert weight(20 * doublings - 1) == 1024 and weight(20 * doublings) == weight(359) == 2048
    scales = [float(method.loss_scale(tf.constant(step, tf.int64))) for step in (0, 24, 25, 359)]
    assert scales == pytest.approx([1, 1, 0.2, 0.2])


def test_scale_multiplies_the_losses_of_auto_encoder_and_mask(monkeypatch):
    norms = []
    for scale in (1.0, 0.2):
        method = make(**FROZEN)
        monkeypatch.setattr(method, 'loss_scale', lambda step, scale=scale: scale)
        found = run(method, batches_for(method))
        norms.append([found[f'grad_norm/{name}'] for name in OPTIMIZERS])
    before, after = np.array(norms)
    np.testing.assert_allclose(after / before, [0.2, 1.0, 1.0, 0.2], rtol=1e-3)


def test_mask_multiplies_codes_and_prior():
    method = make()
    method.mask_weights.assign([0.0, np.log(2), 5.0, 0.0])
    a = np.array([0, 0.5, 1 - np.exp(-5), 0], np.float32)
    np.testing.assert_allclose(method.mask(), a, rtol=1e-6)
    x = batches_for(method)[0]
    np.testing.assert_allclose(method.encode(x), a * method.encoder(x).numpy(), rtol=1e-5)
    codes = method.sample_latent(4000, seed=1).numpy()
    np.testing.assert_allclose(codes.std(axis=0), a, rtol=0.05)
    np.testing.assert_allclose(method.reconstruct(x), method.decoder(method.encode(x)), atol=1e-6)
    assert method.has_critic
    z, z_hat = method.encode(x), codes[:6]
    gap = np.mean(method.critic(z)) - np.mean(method.critic(z_hat))
    assert float(method.critic_distance(z, z_hat)) == pytest.approx(gap, abs=1e-6)


def test_rmsprop_equals_tensorflow_1():
    v = keras.Variable([1.0, 1.0])
    optimizer = maskaae.rmsprop(0.1, [v], 'test')
    square, expected = np.zeros(2), np.ones(2)
    for gradient in np.array([[3.0, 1e-6], [-1.0, 2e-5]]):
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), v)])
        square = 0.9 * square + 0.1 * gradient**2
        expected -= 0.1 * gradient / np.sqrt(square + 1e-10)
    np.testing.assert_allclose(v, expected, rtol=1e-5)


def test_mask_aae_losses_on_two_devices_equal_one_device(mirrored, monkeypatch):
    """The variance and the squared gap need the global batch."""
    update = keras.optimizers.RMSprop.apply_gradients

    def update_mask(self, pairs):
        """Skips the other updates, which other tests cover, to trace faster."""
        if self.name == 'mask':
            update(self, pairs)

    monkeypatch.setattr(keras.optimizers.RMSprop, 'apply_gradients', update_mask)
    options = dict(critic_steps=1, batch_size=8, mask_fidelity_weight=1e-3, latent_dim=8)
    one, strategy = make(**options), mirrored(2)
    with strategy.scope():
        two = make(**options)
    for method in (one, two):  # so that both halves have different gaps
        method.critic.layers[-1].kernel.assign(method.critic.layers[-1].kernel * 30.0)
    batches, step = batches_for(one), tf.constant(0, tf.int64)

    def half():
        i = tf.distribute.get_replica_context().replica_id_in_sync_group
        return two.train_step(batches[:, 4 * i : 4 * i + 4], step)

    values = run(one, batches)
    for tag, value in tf.function(lambda: strategy.run(half))().items():
        mean = np.mean(strategy.experimental_local_results(value))
        assert mean == pytest.approx(values[tag], rel=1e-3, abs=1e-5), tag
    np.testing.assert_allclose(two.mask_weights, one.mask_weights, rtol=1e-5)


@pytest.mark.skipif('FLEXAE_TF_SOAK' not in os.environ, reason='bin/test --soak')
def test_mask_selects_the_number_of_true_dimensions():
    """Two of eight dimensions, for data that are tanh of a linear map of two normals.

    Measured: two for each of four seeds; also one and three for one and three true dimensions. The
    training must be long enough for v to cross its range before the polarization penalty dominates
    (steps times learning rate of about 60, like 130000 times 0.0005). The fidelity weight must not
    be too large: 300 selects two or three dimensions, 1000 three or four.
    """
    rng = np.random.RandomState(0)
    x = np.tanh(rng.randn(4000, 2) @ rng.randn(2, 16) * 0.7).astype(np.float32)
    rates = dict(ae_learning_rate=0.03, critic_learning_rate=1e-3, enc_learning_rate=1e-3)
    options = dict(latent_dim=8, batch_size=32, mask_fidelity_weight=30.0, training_steps=2000)
    method = make(vectors(16), **options, **rates, seed=0)
    batches = Batches(x, batches_per_step=method.batches_per_step, batch_size=32, seed=0)
    assert np.sum(method.mask() >= maskaae.ACTIVE) > 4

    @tf.function
    def train(steps):
        for step in tf.range(steps):
            method.train_step(batches(step), step)

    train(tf.constant(2000, tf.int64))
    a = method.mask().numpy()
    assert np.max(a * (1 - a)) < 1e-3, a  # binary
    assert np.sum(a > 0.5) == 2, a
    z = method.encode(x).numpy()
    np.testing.assert_allclose(np.sort(z.std(axis=0)), [0] * 6 + [1] * 2, atol=0.15)
    error = np.mean(np.sum((method.decode(z).numpy() - x) ** 2, axis=1))
    assert error < 0.02 * np.sum(x.var(axis=0))
