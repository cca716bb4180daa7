"""Tests of FlexAE-SR against a plain implementation of its iteration."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods import flexae_sr
from flexae_tf.noise import Role
from tests.methods.building import build

SPEC = DatasetSpec('folder', 'images', (8, 8, 1), 100, 100, (0.0, 1.0))
OWN = {  # networks that each optimizer trains, in the order of an iteration
    'ae': ('encoder', 'decoder'),
    'critic': ('critic',),
    'image_critic': ('image_critic',),
    'smooth': ('encoder', 'decoder'),
    'gen': ('generator',),
    'enc': ('encoder',),
}


def make(**options):
    small = dict(method='flexae_sr', width_multiplier=0.03, latent_dim=4, noise_dim=3)
    return build(TrainConfig(**{**small, 'batch_size': 6, **options}), SPEC)


def batches_for(method, seed=0):
    shape = [method.batches_per_step, method.config.batch_size, *method.spec.shape]
    return tf.constant(np.random.RandomState(seed).rand(*shape), tf.float32)


def run(method, batches, step=0):
    """Runs one iteration eagerly, which is faster than tracing."""
    return method.train_step(batches, tf.constant(step, tf.int64))


@pytest.fixture
def frozen(monkeypatch):
    """Disables all updates, so that every step uses the initial networks."""
    monkeypatch.setattr(flexae_sr, 'minimize', lambda *args: tf.constant(0.0))


def slopes(critic, x):
    """Returns the norms [batch] of the gradients of a critic at x [batch, ...]."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(critic(x))
    return np.linalg.norm(tape.gradient(total, x).numpy().reshape(len(x), -1), axis=1)


def test_flexae_sr_losses_equal_their_equations(frozen):
    method = make(critic_steps=2)
    batches = batches_for(method)
    values = {tag: float(value) for tag, value in run(method, batches, step=7).items()}

    def encode(x):
        return method.encoder(x, training=True).numpy()

    def decode(z):
        return method.decoder(z, training=True).numpy()

    def uniform(role, index, columns):
        return noise.uniform(noise.key(0, 7, role, index), [6, columns]).numpy()

    x_hat = decode(encode(batches[0]))
    sse = np.mean(np.sum((batches[0].numpy() - x_hat) ** 2, axis=(1, 2, 3)))
    assert values['loss/ae'] == pytest.approx(sse, rel=1e-5)

    # Values of the critics are those from the last of two steps, on batches 3 and 4.
    x, z, z_other = batches[3].numpy(), encode(batches[3]), encode(batches[4])
    n = noise.normal(noise.key(0, 7, Role.CRITIC_NOISE, 1), [6, 3])
    z_hat = method.generator(n).numpy()
    c, c_hat = np.mean(method.critic(z)), np.mean(method.critic(z_hat))
    a = uniform(Role.CRITIC_MIX, 1, 1)
    penalty = np.mean((slopes(method.critic, a * z + (1 - a) * z_hat) - 1) ** 2)
    assert values['loss/critic'] == pytest.approx(c_hat - c + 10 * penalty, rel=1e-4)
    assert values['loss/gen'] == pytest.approx(-c_hat, rel=1e-4, abs=1e-6)
    assert values['loss/enc'] == pytest.approx(c, rel=1e-4, abs=1e-6)

    a, b = uniform(Role.IMAGE_MIX, 1, 2).T
    x_mix = decode(np.stack([a[i] * z[i] + (1 - a[i]) * z_other[i] for i in range(6)]))
    x_bar = np.stack([b[i] * x[i] + (1 - b[i]) * x_mix[i] for i in range(6)])
    penalty = np.mean((slopes(method.image_critic, x_bar) - 1) ** 2)
    distance = np.mean(method.image_critic(x)) - np.mean(method.image_critic(x_mix))
    assert values['loss/image_gradient_penalty'] == pytest.approx(penalty, rel=1e-4)
    assert values['image/wasserstein'] == pytest.approx(distance, rel=1e-4, abs=1e-6)
    assert values['loss/image_critic'] == pytest.approx(10 * penalty - distance, rel=1e-4)

    a = uniform(Role.IMAGE_MIX, 2, 1)  # new mixes of the same codes
    smooth = -np.mean(method.image_critic(decode(a * z + (1 - a) * z_other)))
    assert values['loss/smooth'] == pytest.approx(smooth, rel=1e-4, abs=1e-6)


def test_flexae_sr_updates_run_in_order_and_change_their_own_variables(monkeypatch):
    """Each update uses the variables that the previous updates produced."""
    rates = dict(ae_learning_rate=1e-3, smooth_learning_rate=1e-3, enc_learning_rate=1e-3)
    method = make(critic_steps=2, **rates)
    batches = batches_for(method)
    states, order, gradients = [], [], {}
    apply = keras.optimizers.Adam.apply_gradients

    def spy(optimizer, pairs):
        pairs = list(pairs)
        states.append({v.path: v.numpy() for v in method.variables})
        order.append(optimizer.name)
        gradients[optimizer.name] = [g for g, _ in pairs]
        apply(optimizer, pairs)
        states.append({v.path: v.numpy() for v in method.variables})

    with monkeypatch.context() as patch:
        patch.setattr(keras.optimizers.Adam, 'apply_gradients', spy)
        values = run(method, batches)

    critics = ['critic', 'image_critic']
    assert order == ['ae', *critics, *critics, 'smooth', 'gen', 'enc']
    counts = [int(getattr(method, f'{name}_optimizer').iterations) for name in OWN]
    assert counts == [1, 2, 2, 1, 1, 1]
    trainable = {v.path: v.shape for v in method.trainable_variables}
    for i, name in enumerate(order):
        before, after = states[2 * i], states[2 * i + 1]
        for path, shape in trainable.items():
            network = path.split('/')[0]
            if i:
                np.testing.assert_array_equal(states[2 * i - 1][path], before[path])
            if network.endswith('critic') and shape == (1,):
                continue  # a critic's last bias has no gradient: scores enter as differences
            assert np.array_equal(before[path], after[path]) == (network not in OWN[name]), path

    def take(state):
        for v in method.variables:
            v.assign(state[v.path])

    # The gradient of the smoothing step passes through image critic, decoder and encoder.
    place = order.index('smooth')
    take(states[2 * place])
    mix = noise.uniform(noise.key(0, 0, Role.IMAGE_MIX, 2), [6, 1])
    own = method.encoder.trainable_variables + method.decoder.trainable_variables
    with tf.GradientTape() as tape:
        z, z_other = (method.encoder(x, training=True) for x in batches[3:5])
        x_mix = method.decoder(mix * z + (1 - mix) * z_other, training=True)
        loss = -tf.reduce_mean(method.image_critic(x_mix))
    assert float(values['loss/smooth']) == pytest.approx(float(loss), rel=1e-4)
    for a, b in zip(tape.gradient(loss, own), gradients['smooth'], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max() + 1e-9)
    # The encoder's loss uses codes after the smoothing step.
    stale = float(tf.reduce_mean(method.critic(z)))
    take(states[2 * place + 1])
    enc = float(tf.reduce_mean(method.critic(method.encoder(batches[3], training=True))))
    assert float(values['loss/enc']) == pytest.approx(enc, rel=1e-4)
    assert abs(enc - stale) > 1e-3 * abs(enc)


@pytest.mark.parametrize(
    ('source', 'mixed', 'order'),
    [
        ('fresh', False, [0, 1, 2, 3, 4, 3]),
        ('fresh', True, [0, 1, 2, 3, 4, 3]),
        ('shared', True, [0, 0, 1, 0]),
    ],
)
def test_batch_norm_averages_move_once_per_training_pass(frozen, source, mixed, order):
    """The encoder's move on all passes in `order`, the decoder's once per kind of codes."""
    method = make(critic_batches=source, bn_mix_generated=mixed, critic_steps=2)
    assert method.batches_per_step == max(order) + 1
    batches = batches_for(method)
    start = [v.numpy() for v in method.variables]
    run(method, batches, step=5)
    found = {v.path: v.numpy() for v in method.variables}
    assert sum('moving' in path for path in found) == 20

    for v, value in zip(method.variables, start, strict=True):
        v.assign(value)
    z = {}
    for i in order:
        z[i] = method.encoder(batches[i], training=True)
    method.decoder(z[0], training=True)
    if mixed:
        mix = noise.uniform(noise.key(0, 5, Role.IMAGE_MIX, 2), [6, 1])
        method.decoder(mix * z[order[-3]] + (1 - mix) * z[order[-2]], training=True)
        n = noise.normal(noise.key(0, 5, Role.CRITIC_NOISE, 1), [6, 3])
        method.decoder(method.generator(n), training=True)
    for v in method.variables:
        np.testing.assert_allclose(found[v.path], v, rtol=1e-5, atol=1e-7, err_msg=v.path)


@pytest.fixture(scope='module')
def untrained():
    return make(ae_learning_rate=2e-4, gen_learning_rate=3e-4)


def test_optimizers_have_the_rates_and_moments_of_the_release(untrained):
    found = {}
    for name in OWN:
        optimizer = getattr(untrained, f'{name}_optimizer')
        found[name] = float(optimizer.learning_rate), optimizer.beta_1, optimizer.beta_2
    assert found == {
        'ae': (pytest.approx(2e-4), 0.9, 0.999),
        'critic': (pytest.approx(1e-4), 0.0, 0.9),
        'image_critic': (pytest.approx(2e-4), 0.5, 0.9),
        'smooth': (pytest.approx(2e-4), 0.5, 0.9),
        'gen': (pytest.approx(3e-4), 0.0, 0.9),
        'enc': (pytest.approx(1e-5), 0.0, 0.9),
    }


def test_critic_distance_is_the_difference_of_mean_scores(untrained):
    z, z_hat = np.random.RandomState(0).rand(2, 5, 4).astype(np.float32)
    expected = np.mean(untrained.critic(z)) - np.mean(untrained.critic(z_hat))
    assert untrained.has_critic
    assert float(untrained.critic_distance(z, z_hat)) == pytest.approx(expected, rel=1e-4)


def test_released_networks_train_in_reduced_precision_except_critics():
    method = make(precision='mixed_bfloat16', critic_steps=1, network='released')
    assert method.encoder.layers[0].compute_dtype == 'bfloat16'
    assert {layer.compute_dtype for layer in method.image_critic.layers} == {'float32'}
    for tag, value in run(method, batches_for(method)).items():
        assert value.dtype == tf.float32 and np.isfinite(value), tag
        assert not tag.startswith('grad_norm') or value > 0, tag
