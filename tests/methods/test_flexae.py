"""Tests of FlexAE against a plain implementation of Algorithm 1."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.noise import Role
from tests.methods.building import build

SPEC = DatasetSpec('mnist', 'images', (28, 28, 1), 60_000, 10_000, (0.0, 1.0))
OPTIMIZERS = ('ae', 'critic', 'gen', 'enc')


def make(**options):
    small = dict(width_multiplier=0.05, latent_dim=4, noise_dim=3, batch_size=6)
    return build(TrainConfig(**{**small, **options}), SPEC)


def batches_for(method, seed=0):
    shape = [method.batches_per_step, method.config.batch_size, *method.spec.shape]
    return tf.constant(np.random.RandomState(seed).rand(*shape), tf.float32)


def run(method, batches, step):
    """Runs one iteration eagerly, which is faster than tracing."""
    return method.train_step(batches, tf.constant(step, tf.int64))


class PlainAdam:
    """Adam of its paper, with the placement of epsilon of TensorFlow 1."""

    def __init__(self, rate, beta_1, beta_2):
        self.rate, self.beta_1, self.beta_2 = rate, beta_1, beta_2
        self.moments, self.count = {}, 0

    def update(self, loss, tape, variables):
        self.count += 1
        for i, (v, g) in enumerate(zip(variables, tape.gradient(loss, variables), strict=True)):
            g = g.numpy()
            m, s = self.moments.get(i, (np.zeros_like(g), np.zeros_like(g)))
            m = self.beta_1 * m + (1 - self.beta_1) * g
            s = self.beta_2 * s + (1 - self.beta_2) * g * g
            self.moments[i] = m, s
            rate = self.rate * np.sqrt(1 - self.beta_2**self.count) / (1 - self.beta_1**self.count)
            v.assign(v.numpy() - rate * m / (np.sqrt(s) + 1e-8))


def plain_iterations(method, all_batches):
    """Runs Algorithm 1 on the networks of `method`; returns the losses of every iteration."""
    encoder, decoder = method.encoder, method.decoder
    generator, critic = method.generator, method.critic
    ae_opt, critic_opt = PlainAdam(1e-3, 0.9, 0.999), PlainAdam(1e-4, 0.0, 0.9)
    gen_opt, enc_opt = PlainAdam(5e-4, 0.0, 0.9), PlainAdam(1e-5, 0.0, 0.9)
    history = []
    for step, batches in enumerate(all_batches):
        # Minimize L_AE and update phi, theta.
        x = batches[0]
        with tf.GradientTape() as tape:
            x_hat = decoder(encoder(x, training=True), training=True)
            ae = tf.reduce_mean(tf.reduce_sum((x - x_hat) ** 2, axis=[1, 2, 3]))
        plain = np.mean([np.sum((a - b) ** 2) for a, b in zip(x.numpy(), x_hat.numpy())])  # noqa: B905
        assert float(ae) == pytest.approx(plain, rel=1e-5)
        ae_opt.update(ae, tape, encoder.trainable_variables + decoder.trainable_variables)
        # Minimize L_Critic and update kappa, five times.
        for j in range(5):
            x = batches[1 + j]
            z = encoder(x, training=True)
            n = noise.normal(noise.key(0, step, Role.CRITIC_NOISE, j), [6, 3])
            z_hat = generator(n)
            a = noise.uniform(noise.key(0, step, Role.CRITIC_MIX, j), [6, 1])
            with tf.GradientTape() as tape:
                z_avg = a * z + (1 - a) * z_hat
                with tf.GradientTape() as inner:
                    inner.watch(z_avg)
                    total = tf.reduce_sum(critic(z_avg))
                slope = tf.norm(inner.gradient(total, z_avg), axis=1)
                c, c_hat = critic(z), critic(z_hat)
                loss = (
                    tf.reduce_mean(c_hat)
                    - tf.reduce_mean(c)
                    + 10.0 * tf.reduce_mean((slope - 1.0) ** 2)
                )
            penalty = np.mean((slope.numpy() - 1.0) ** 2)
            plain = c_hat.numpy().mean() - c.numpy().mean() + 10.0 * penalty
            assert float(loss) == pytest.approx(plain, rel=1e-5)
            critic_opt.update(loss, tape, critic.trainable_variables)
        # Minimize L_Gen and update psi.
        with tf.GradientTape() as tape:
            gen = -tf.reduce_mean(critic(generator(n)))
        gen_opt.update(gen, tape, generator.trainable_variables)
        # Minimize L_Enc and update phi. The images are encoded again, without moving averages.
        moved = [(v, v.numpy()) for v in encoder.non_trainable_variables]
        with tf.GradientTape() as tape:
            enc = tf.reduce_mean(critic(encoder(x, training=True)))
        enc_opt.update(enc, tape, encoder.trainable_variables)
        for v, value in moved:
            v.assign(value)
        history.append([float(v) for v in (ae, loss, gen, enc, penalty)])
    return history


LOSSES = ('loss/ae', 'loss/critic', 'loss/gen', 'loss/enc', 'loss/gradient_penalty')


def two_iterations(method, step_fn):
    """Returns the losses of two iterations by `step_fn`, [2, 5]."""
    history = []
    for step in range(2):
        losses = step_fn(batches_for(method, step), tf.constant(step, tf.int64))
        history.append([float(losses[tag]) for tag in LOSSES])
    return history


def two_compiled_iterations(method, **options):
    """Returns the losses of two iterations by one trace of `train_step`."""
    step_fn = tf.function(method.train_step, **options)
    history = two_iterations(method, step_fn)
    assert step_fn.experimental_get_tracing_count() == 1
    return history


def test_train_step_equals_algorithm_1(short_networks):
    ours, plain = make(width_multiplier=1.0), make(width_multiplier=1.0)
    losses = two_compiled_iterations(ours)
    expected = plain_iterations(plain, [batches_for(plain, step) for step in range(2)])
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(ours.weights, plain.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, err_msg=a.path)


def test_train_step_with_xla_equals_eager_steps(short_networks):
    sizes = dict(critic_steps=1, width_multiplier=1.0)
    # Gradients differ from the other kernels' by 1e-5 of their size. Adam's division by the
    # magnitude enlarges this where gradients are small. So only losses and mean weights compare.
    ours, plain = make(**sizes), make(**sizes)
    losses = two_compiled_iterations(ours, jit_compile=True)
    np.testing.assert_allclose(losses, two_iterations(plain, plain.train_step), rtol=1e-2)
    start = make(**sizes)
    for a, b, c in zip(ours.weights, plain.weights, start.weights, strict=True):
        movement = np.mean(np.abs(b.numpy() - c.numpy()))
        assert np.mean(np.abs(a.numpy() - b.numpy())) <= 0.1 * movement, a.path


def test_train_step_updates_each_optimizer_as_often_as_algorithm_1():
    method = make(critic_steps=5)
    for step in range(3):
        run(method, batches_for(method), step)
    counts = [int(getattr(method, f'{name}_optimizer').iterations) for name in OPTIMIZERS]
    assert counts == [3, 15, 3, 3]


@pytest.mark.parametrize('active', OPTIMIZERS)
def test_flexae_update_changes_its_own_variables_only(active):
    method = make(enc_learning_rate=1e-3)
    for name in OPTIMIZERS:
        if name != active:
            getattr(method, f'{name}_optimizer').learning_rate = 0.0
    own = {
        'ae': ('encoder', 'decoder'),
        'critic': ('critic',),
        'gen': ('generator',),
        'enc': ('encoder',),
    }[active]
    before = {v.path: v.numpy() for v in method.trainable_variables}
    run(method, batches_for(method), 0)
    for v in method.trainable_variables:
        network = v.path.split('/')[0]
        changed = not np.array_equal(before[v.path], v.numpy())
        if network == 'critic' and v.shape == (1,):
            continue  # the last bias of a critic has no gradient: scores enter as differences
        assert changed == (network in own), v.path


def averages(network):
    return {v.path: v.numpy() for v in network.non_trainable_variables if 'moving' in v.path}


@pytest.mark.parametrize('mixed', [False, True])
@pytest.mark.parametrize('source, passes', [('fresh', 6), ('shared', 2)])
def test_batch_norm_averages_move_once_per_training_pass(source, passes, mixed):
    """On equal batches and frozen weights, k passes take an average to s + (a - s) 0.99^k."""
    method = make(critic_batches=source, bn_mix_generated=mixed)
    for name in OPTIMIZERS:
        getattr(method, f'{name}_optimizer').learning_rate = 0.0
    x = batches_for(method)[:1]
    before = {n: averages(getattr(method, n)) for n in ('encoder', 'decoder')}
    twin = make(critic_batches=source)
    z = twin.encoder(x[0], training=True)  # one pass each
    twin.decoder(z, training=True)
    run(method, tf.repeat(x, method.batches_per_step, axis=0), 0)

    def passes_of(network):
        """Returns k from the ratio of (1 - 0.99^k) to (1 - 0.99), over all averages."""
        moved = [
            (averages(getattr(method, network))[p] - a).ravel() for p, a in before[network].items()
        ]
        once = [
            (averages(getattr(twin, network))[p] - a).ravel() for p, a in before[network].items()
        ]
        ratio = np.concatenate(moved) / np.concatenate(once)
        return np.log(1 - np.median(ratio) * 0.01) / np.log(0.99), np.ptp(ratio)

    count, spread = passes_of('encoder')
    assert count == pytest.approx(passes, abs=0.05) and spread < 0.1
    count, spread = passes_of('decoder')
    if mixed:
        # Generated codes have other statistics, so that their pass is no repetition. Before it, the
        # averages follow reconstructions only.
        assert spread > 0.1
        other = make(critic_batches=source)
        other.decoder(other.encoder(x[0], training=True), training=True)
        n = noise.normal(noise.key(0, 0, Role.CRITIC_NOISE, 4), [6, 3])  # the last critic step's
        other.decoder(other.generator(n), training=True)
        for path, value in averages(other.decoder).items():
            np.testing.assert_allclose(averages(method.decoder)[path], value, atol=1e-6)
    else:
        assert count == pytest.approx(1, abs=0.05) and spread < 0.1


def test_batches_per_step_counts_fresh_critic_batches():
    assert make(critic_batches='fresh', critic_steps=3).batches_per_step == 4
    assert make(critic_batches='shared').batches_per_step == 1


def test_training_lowers_the_reconstruction_with_finite_gradients():
    method = make(critic_steps=1)
    batches = tf.repeat(batches_for(method)[:1], method.batches_per_step, axis=0)
    step_fn = tf.function(method.train_step)
    history = [step_fn(batches, tf.constant(i, tf.int64)) for i in range(40)]
    assert history[-1]['loss/ae'] < 0.8 * history[0]['loss/ae']
    for tag in method.tags:
        values = np.array([h[tag] for h in history])
        assert np.isfinite(values).all(), tag
        assert (values != 0).any(), tag
        assert set(history[0]) == set(method.tags)


def test_flexae_public_methods_agree():
    method = make()
    x = batches_for(method)[0]
    z = method.encode(x)
    assert z.shape == (6, 4)
    np.testing.assert_array_equal(method.sample_posterior(x, 3), z)
    np.testing.assert_allclose(method.reconstruct(x), method.decode(z), atol=1e-6)
    np.testing.assert_array_equal(method.sample(5, seed=1), method.sample(5, seed=1))
    assert not np.allclose(method.sample(5, seed=1), method.sample(5, seed=2))
    np.testing.assert_allclose(
        method.sample_latent(9, 1)[:5], method.sample_latent(5, 1), atol=1e-6
    )
    assert method.sample(5, seed=1).shape == (5, 28, 28, 1)
