"""Tests of the divergences of codes and prior, and of the methods that use them."""

import functools

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import tensorflow as tf

from flexae_tf import config as config_room
from flexae_tf import losses, noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import adam, all_gather_batch, minimize
from flexae_tf.methods.divergences import DIVERGENCES, SlicedWasserstein
from flexae_tf.networks.latent import Critic
from flexae_tf.noise import Role
from tests.methods.building import build
from tests.test_losses import mmd_by_loops

VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))
LEARNED = ('wasserstein', 'jensen_shannon', 'kl')
DIRECT = ('mmd', 'sliced_wasserstein')
SHIFT = np.float32([1.2, -0.5])  # codes are N(SHIFT, I) and the prior is N(0, I), mostly


class Learner:
    """A divergence with a small critic and its optimizer, without a method."""

    def __init__(self, name, hidden=(16,), critic_learning_rate=1e-4):
        self.divergence, self.critic = DIVERGENCES[name](), None
        if self.divergence.has_critic:
            self.critic = Critic(hidden, latent_dim=2, seed=0)
            variables = self.critic.trainable_variables
            self.optimizer = adam(critic_learning_rate, 0.0, 0.9, variables, 'critic')

    def __getattr__(self, name):
        """Binds `distance`, `encoder_loss` and `generator_loss` to the critic."""
        return functools.partial(getattr(self.divergence, name), self.critic)

    def update(self, z, z_hat, mix_key=None):
        """Takes one step on the critic's loss and returns it."""
        with tf.GradientTape() as tape:
            loss, _ = self.divergence.critic_loss(self.critic, z, z_hat)
            if self.divergence.has_gradient_penalty:
                mix = noise.uniform(key() if mix_key is None else mix_key, [z.shape[0], 1])
                loss += 10.0 * losses.gradient_penalty(self.critic, z, z_hat, mix)
        minimize(loss, tape, self.optimizer, self.critic.trainable_variables)
        return loss


def make_method(divergence='wasserstein', method='flexae', **options):
    small = dict(batch_size=6, critic_steps=1, dataset='synthetic_2d')
    if method == 'wae_gmm_prior':
        small['mixture'] = 'data'
    config = TrainConfig(method=method, divergence=divergence, **{**small, **options})
    return build(config, VECTORS)


def key(index=0):
    return noise.key(0, index, Role.CRITIC_MIX)


def normals(num, index=0, dim=2):
    return noise.normal(noise.key(0, index, Role.CRITIC_NOISE), [num, dim])


def batches_for(method):
    shape = [method.batches_per_step, method.config.batch_size, 128]
    return tf.constant(np.random.RandomState(0).rand(*shape), tf.float32)


def set_linear(critic, slope, offset):
    """Sets a critic without hidden layers to the function slope . z + offset."""
    critic.weights[0].assign(np.reshape(slope, [-1, 1]))
    critic.weights[1].assign([offset])


def set_optimal(divergence, name):
    """Gives a linear critic its optimum for codes N(SHIFT, I) and a prior N(0, I)."""
    if name == 'wasserstein':  # the steepest function of slope 1
        set_linear(divergence.critic, SHIFT / np.linalg.norm(SHIFT), 0.7)
    else:  # ln of the ratio of the densities
        set_linear(divergence.critic, SHIFT, -0.5 * np.sum(SHIFT**2))


def shifts_gradients(divergence, num=20_000):
    """Returns the gradients of both losses by a shift of z and by a shift of z_hat."""
    shift, shift_hat = tf.constant(SHIFT), tf.zeros([2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([shift, shift_hat])
        z, z_hat = normals(num, 0) + shift, normals(num, 1) + shift_hat
        enc = divergence.encoder_loss(z, z_hat, key())
        gen = divergence.generator_loss(z, z_hat, key())
    return tape.gradient(enc, shift).numpy(), tape.gradient(gen, shift_hat).numpy()


@pytest.mark.parametrize('name', LEARNED)
def test_distance_with_an_optimal_critic_is_the_divergence(name):
    divergence = Learner(name, hidden=())
    set_optimal(divergence, name)
    size = np.linalg.norm(SHIFT)

    def integrand(t):
        p, q = scipy.stats.norm(0).pdf(t), scipy.stats.norm(size).pdf(t)
        middle = (p + q) / 2
        return (p * np.log(p / middle) + q * np.log(q / middle)) / 2

    expected = {
        'wasserstein': size,  # Wasserstein-1
        'jensen_shannon': scipy.integrate.quad(integrand, -8.0, 8.0 + size)[0],
        'kl': size**2 / 2,
    }[name]
    z, z_hat = normals(20_000, 0) + SHIFT, normals(20_000, 1)
    found = float(divergence.distance(z, z_hat, key()))
    assert found == pytest.approx(expected, rel=0.03)
    set_linear(divergence.critic, SHIFT * [1.0, 0.2], 0.1)  # any other critic is worse
    if name != 'wasserstein':
        other = -losses.sigmoid_cross_entropy(divergence.critic(z), real=True)
        other -= losses.sigmoid_cross_entropy(divergence.critic(z_hat), real=False)
        set_optimal(divergence, name)
        best = -losses.sigmoid_cross_entropy(divergence.critic(z), real=True)
        best -= losses.sigmoid_cross_entropy(divergence.critic(z_hat), real=False)
        assert other < best  # the critic maximizes this


@pytest.mark.parametrize('name', LEARNED)
def test_distance_with_a_constant_critic_is_zero(name):
    divergence = Learner(name, hidden=())
    set_linear(divergence.critic, np.zeros(2), 0.0)
    z, z_hat = normals(8, 0) + SHIFT, normals(8, 1)
    assert float(divergence.distance(z, z_hat, key())) == pytest.approx(0.0, abs=1e-7)


def test_distance_of_equal_samples():
    z = normals(30)
    # Scores of any critic cancel, and a classifier's bound is at most 0.
    assert float(Learner('wasserstein').distance(z, z, key())) == 0.0
    divergence = Learner('jensen_shannon')
    logit = divergence.critic(z).numpy()
    expected = np.log(2) - np.mean(np.log1p(np.exp(logit)) + np.log1p(np.exp(-logit))) / 2
    found = float(divergence.distance(z, z, key()))
    assert found == pytest.approx(expected, abs=1e-6) and -1.0 < found < 0.0
    assert float(Learner('sliced_wasserstein').distance(z, z, key())) == 0.0
    # Only the cross term contains the kernel at distance 0, which is 7; so the value is negative.
    square = np.sum((z[:, None] - z[None]).numpy() ** 2, axis=2)
    kernel = sum(4 * scale / (4 * scale + square) for scale in losses.MMD_SCALES)
    others = kernel[~np.eye(30, dtype=bool)].mean()
    floor = -2 * (7 - others) / 30
    assert float(Learner('mmd').distance(z, z, key())) == pytest.approx(floor, rel=1e-4)


@pytest.mark.parametrize('name', ('jensen_shannon', 'kl'))
def test_classifier_of_equal_samples_converges_to_one_half(name):
    divergence = Learner(name, hidden=(), critic_learning_rate=0.05)
    z = normals(30)
    step = tf.function(lambda: divergence.update(z, z))
    values = [float(step()) for _ in range(200)]
    assert abs(values[0] - 2 * np.log(2)) > 0.05  # at the initial weights
    assert values[-1] == pytest.approx(2 * np.log(2), abs=1e-3)
    assert float(divergence.distance(z, z, key())) == pytest.approx(0.0, abs=0.03)


def test_sliced_wasserstein_of_a_shift_is_its_mean_squared_projection():
    divergence, z = Learner('sliced_wasserstein'), normals(20)
    directions = noise.shared_normal(key(), [2, SlicedWasserstein.PROJECTIONS]).numpy()
    directions /= np.linalg.norm(directions, axis=0)
    expected = np.mean((SHIFT @ directions) ** 2)
    assert float(divergence.distance(z + SHIFT, z, key())) == pytest.approx(expected, rel=1e-4)
    # Directions are uniform: about half of the square in two dimensions.
    assert expected == pytest.approx(np.sum(SHIFT**2) / 2, rel=0.3)
    assert float(divergence.distance(z + SHIFT, z, key(1))) != pytest.approx(expected, rel=1e-4)


def adam_step(gradient, rate):
    """The first step of Adam (0, 0.9) down a gradient, with epsilon beside the raw moment."""
    return -rate * np.sqrt(0.1) * gradient / (np.sqrt(0.1 * gradient**2) + 1e-8)


def make_gan(name, **options):
    """Returns a latent GAN of codes [2] with one critic step."""
    sizes = dict(dataset='codes', network='synthetic', latent_dim=2, batch_size=8, critic_steps=1)
    config = TrainConfig(method='latent_gan', divergence=name, **sizes, **options)
    return build(config, DatasetSpec('codes', 'vectors', (2,), 100, 100, (-9.0, 9.0)))


@pytest.mark.parametrize('name', LEARNED)
def test_critic_step_equals_its_equations(name):
    method = make_gan(name, critic_learning_rate=0.01, gradient_penalty_weight=3.0)
    twin = make_gan(name)
    step = tf.constant(4, tf.int64)
    z = normals(8, 0) + SHIFT
    z_hat = twin.prior.sample_with_key(8, twin.key(step, Role.CRITIC_NOISE))
    critic = twin.critic
    with tf.GradientTape() as tape:
        score, score_hat = critic(z), critic(z_hat)
        if name == 'wasserstein':
            mix = noise.uniform(twin.key(step, Role.CRITIC_MIX), [8, 1])
            penalty = losses.gradient_penalty(critic, z, z_hat, mix)
            loss = losses.critic_loss(score, score_hat) + 3.0 * penalty
        else:
            p, p_hat = tf.sigmoid(score), tf.sigmoid(score_hat)
            loss = -tf.reduce_mean(tf.math.log(p)) - tf.reduce_mean(tf.math.log(1.0 - p_hat))
    gradients = tape.gradient(loss, critic.trainable_variables)
    before = [v.numpy() for v in method.critic.trainable_variables]
    values = method.train_step(z[None], step)
    assert set(values) == set(method.tags)
    assert float(values['loss/critic']) == pytest.approx(float(loss), rel=1e-5)
    norm = float(tf.linalg.global_norm([g for g in gradients if g is not None]))
    assert float(values['grad_norm/critic']) == pytest.approx(norm, rel=1e-4)
    if name == 'wasserstein':
        assert float(values['loss/gradient_penalty']) == pytest.approx(float(penalty), rel=1e-5)
        distance = np.mean(score) - np.mean(score_hat)
        assert float(values['latent/wasserstein']) == pytest.approx(distance, rel=1e-4)
    for v, old, g in zip(method.critic.trainable_variables, before, gradients, strict=True):
        sure = np.abs(g) > 1e-6  # elsewhere Adam makes a full step of rounding noise
        expected = old + adam_step(g.numpy(), 0.01)
        np.testing.assert_allclose(v.numpy()[sure], expected[sure], atol=1e-5, err_msg=v.path)


@pytest.mark.parametrize('name', LEARNED)
def test_critic_step_trains_the_critic_only(name):
    method = make_method(name, critic_learning_rate=0.01)
    for other in ('ae', 'gen', 'enc'):
        getattr(method, f'{other}_optimizer').learning_rate = 0.0
    before = {v.path: v.numpy() for v in method.trainable_variables}
    method.train_step(batches_for(method), tf.constant(0, tf.int64))
    changed = {v.path for v in method.trainable_variables if (v.numpy() != before[v.path]).any()}
    assert {path.split('/')[0] for path in changed} == {'critic'}
    assert int(method.critic_optimizer.iterations) == 1


@pytest.mark.parametrize('name', DIRECT)
def test_direct_divergence_has_no_critic_and_equals_its_losses(name):
    divergence = Learner(name)
    z, z_hat = normals(8, 0) + SHIFT, normals(8, 1)
    expected = float(divergence.distance(z, z_hat, key()))
    for loss in (divergence.encoder_loss, divergence.generator_loss):
        assert float(loss(z, z_hat, key())) == expected
    assert divergence.critic is None
    with pytest.raises(NotImplementedError, match='has no critic'):
        divergence.critic_loss(z, z_hat)
    method = make_method(name, critic_steps=5)
    assert method.critic is None and method.critic_steps == 1 and not method.has_critic


@pytest.mark.parametrize('name', DIVERGENCES)
def test_gradients_of_encoder_and_prior_close_the_gap(name):
    divergence = Learner(name, hidden=())
    if name in LEARNED:
        set_optimal(divergence, name)
    enc, gen = shifts_gradients(divergence, num=20_000 if name in LEARNED else 500)
    # Along minus the gradient, z moves against SHIFT and z_hat along it.
    direction = SHIFT / np.linalg.norm(SHIFT)
    for gradient, sign in ((enc, 1.0), (gen, -1.0)):
        along = gradient @ direction * sign
        assert along > 0.1
        assert np.linalg.norm(gradient - sign * along * direction) < 0.25 * along
    # The gradients of the divergence itself, in closed form.
    if name == 'wasserstein':
        np.testing.assert_allclose([enc, -gen], [direction, direction], rtol=1e-3)
    if name == 'kl':
        np.testing.assert_allclose(enc, SHIFT, rtol=1e-3)
        np.testing.assert_allclose(gen, -SHIFT, rtol=0.05)  # by the mean ratio, 1


@pytest.mark.parametrize('name', DIVERGENCES)
def test_training_matches_codes_and_prior(name):
    """Only z or only z_hat moves along its loss, while the critic is trained."""
    divergence = Learner(name, hidden=(32,), critic_learning_rate=0.03)
    shift = tf.Variable([2.0, -1.0])
    num = 48 if name in LEARNED else 16  # pairs and sorting cost more

    @tf.function
    def train(prior_moves):
        """Returns the moving mean at each of 300 steps; `prior_moves` is 0.0 or 1.0."""

        def step(i):
            a, b = tf.unstack(noise.normal(noise.key(0, i, Role.CRITIC_NOISE), [2, num, 2]))
            with tf.GradientTape() as tape:
                z, z_hat = a + (1.0 - prior_moves) * shift, b + prior_moves * shift
                loss = (1.0 - prior_moves) * divergence.encoder_loss(z, z_hat, key(i))
                loss += prior_moves * divergence.generator_loss(z, z_hat, key(i))
            gradient = tape.gradient(loss, shift)
            if divergence.critic:
                divergence.update(z, z_hat, key(i))
            shift.assign_sub(0.02 * gradient)
            return shift.value()

        return tf.map_fn(step, tf.range(300), fn_output_signature=tf.float32)

    variables = [shift]
    if name in LEARNED:
        variables += [*divergence.critic.variables, *divergence.optimizer.variables]
    start = [v.numpy() for v in variables]
    for prior_moves in (0.0, 1.0):
        for v, value in zip(variables, start, strict=True):
            v.assign(value)
        places = train(tf.constant(prior_moves)).numpy()
        assert np.linalg.norm(places[0]) > 2.1
        # A Wasserstein critic keeps slope 1, so that the mean oscillates around its target.
        assert np.linalg.norm(places[-150:].mean(axis=0)) < 0.4, prior_moves


@pytest.mark.parametrize('name', DIVERGENCES)
@pytest.mark.parametrize('far', [0.0, 1e4])
def test_gradients_are_finite_for_equal_and_for_distant_codes(name, far):
    divergence = Learner(name)
    z_hat = normals(8)
    with tf.GradientTape(persistent=True) as tape:
        z = z_hat + far
        z_moved = z_hat - far
        tape.watch([z, z_hat, z_moved])
        enc = divergence.encoder_loss(z, z_hat, key())
        gens = [divergence.generator_loss(z, a, key()) for a in (z_hat, z, z_moved)]
        same = divergence.encoder_loss(tf.ones([8, 2]) + 0.0 * z, tf.ones([8, 2]), key())
    assert np.isfinite(tape.gradient(enc, z)).all() and np.isfinite(tape.gradient(same, z)).all()
    for gen, codes in zip(gens, (z_hat, z, z_moved), strict=True):
        assert np.isfinite(gen) and np.isfinite(tape.gradient(gen, codes)).all()
    assert np.isfinite(divergence.distance(z, z_hat, key()))
    if name in LEARNED:
        assert np.isfinite(divergence.update(z, z_hat))
        assert all(np.isfinite(v).all() for v in divergence.critic.weights)


@pytest.mark.parametrize(
    ('method', 'divergence'),
    [
        *(('flexae', divergence) for divergence in DIVERGENCES),
        ('wae_normal', 'wasserstein'),
        ('wae_gmm_prior', 'sliced_wasserstein'),
    ],
)
def test_train_step_changes_every_network_of_the_method(method, divergence):
    method = make_method(divergence, method)
    before = {v.path: v.numpy() for v in method.trainable_variables}
    parts = {'encoder', 'decoder'}
    if method.config.method == 'flexae':
        parts.add('generator')
    else:
        assert method.generator is None and 'loss/gen' not in method.tags
    if divergence in LEARNED:
        parts.add('critic')
    assert method.has_critic == (divergence in LEARNED) == (method.critic is not None)
    assert {path.split('/')[0] for path in before} == parts
    values = method.train_step(batches_for(method), tf.constant(0, tf.int64))
    assert set(values) == set(method.tags)
    for v in method.trainable_variables:
        last_bias = v.path.startswith('critic') and v.shape == (1,)
        if last_bias and divergence == 'wasserstein':
            continue  # no gradient: scores enter as differences
        assert not np.array_equal(before[v.path], v.numpy()), v.path


@pytest.mark.parametrize('divergence', DIVERGENCES)
def test_critic_steps_is_the_number_of_critic_updates(divergence):
    method = make_method(divergence, critic_steps=3)
    assert method.batches_per_step == (4 if divergence in LEARNED else 2)
    assert make_method(divergence, critic_batches='shared').batches_per_step == 1
    method.train_step(batches_for(method), tf.constant(0, tf.int64))
    names = ['ae', 'gen', 'enc', *(['critic'] if divergence in LEARNED else [])]
    counts = {name: int(getattr(method, f'{name}_optimizer').iterations) for name in names}
    assert counts.pop('critic', 3) == 3 and set(counts.values()) == {1}


@pytest.mark.parametrize('divergence', DIRECT)
def test_train_step_without_critic_equals_its_equations(divergence):
    method, twin = make_method(divergence), make_method(divergence)
    batches = batches_for(method)
    values = method.train_step(batches, tf.constant(7, tf.int64))
    # The codes are computed after the auto-encoder step.
    frozen = {name: 1e-30 for name in ('gen_learning_rate', 'enc_learning_rate')}
    stepped = make_method(divergence, **frozen)
    stepped.train_step(batches, tf.constant(7, tf.int64))
    z = stepped.encoder(batches[1]).numpy()
    z_hat = twin.generator(noise.normal(noise.key(0, 7, Role.CRITIC_NOISE), [6, 2])).numpy()
    if divergence == 'mmd':
        expected = mmd_by_loops(z, z_hat)
    else:
        directions = noise.shared_normal(noise.key(0, 7, Role.CRITIC_MIX), [2, 64]).numpy()
        directions /= np.linalg.norm(directions, axis=0)
        expected = np.mean((np.sort(z @ directions, 0) - np.sort(z_hat @ directions, 0)) ** 2)
    for tag in ('loss/enc', 'loss/gen', method.divergence.tag):
        assert float(values[tag]) == pytest.approx(expected, rel=1e-3, abs=1e-5), tag


@pytest.mark.parametrize('divergence', DIRECT)
def test_train_step_on_two_devices_equals_one_device(divergence, mirrored):
    """Compares losses, norms and weights; these losses are no means over examples."""
    options = dict(seed=1, enc_learning_rate=1e-3, gen_learning_rate=1e-3)
    one, strategy = make_method(divergence, **options), mirrored(2)
    with strategy.scope():
        two = make_method(divergence, **options)
    batches = batches_for(one)
    start = {v.path: v.numpy() for v in one.trainable_variables}

    def half():
        i = tf.distribute.get_replica_context().replica_id_in_sync_group
        return two.train_step(batches[:, 3 * i : 3 * i + 3], tf.constant(0, tf.int64))

    expected, found = one.train_step(batches, tf.constant(0, tf.int64)), strategy.run(half)
    for tag, value in expected.items():
        values = strategy.experimental_local_results(found[tag])
        assert np.mean(values) == pytest.approx(float(value), rel=1e-4, abs=1e-6), tag
        if tag != 'loss/ae':  # the only mean over the replica's own examples
            assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-5, abs=1e-6), tag
    for v in one.trainable_variables:
        assert not np.array_equal(v, start[v.path]), v.path
    for a, b in zip(one.weights, two.weights, strict=True):
        for copy in strategy.experimental_local_results(b.value):
            np.testing.assert_allclose(copy, a, atol=1e-6, err_msg=a.path)


def test_all_gather_batch_returns_the_global_batch_and_its_gradient(mirrored):
    """Runs in a compiled function, like in the trainer."""
    z, z_hat = normals(6, 0) * [1.0, 2.0], normals(6, 1)
    shift = tf.constant(SHIFT)
    with tf.GradientTape() as tape:
        tape.watch(shift)
        loss = losses.mmd(z + shift, z_hat)
    expected = tape.gradient(loss, shift)
    strategy = mirrored(2)

    def half():
        i = tf.distribute.get_replica_context().replica_id_in_sync_group
        own, own_hat = z[3 * i : 3 * i + 3], z_hat[3 * i : 3 * i + 3]
        with tf.GradientTape() as tape:
            tape.watch(shift)
            moved = own + shift
            loss = losses.mmd(all_gather_batch(moved), all_gather_batch(own_hat))
        return all_gather_batch(own), loss, tape.gradient(loss, shift)

    parts = tf.function(lambda: strategy.run(half))()
    whole, each, gradients = (strategy.experimental_local_results(part) for part in parts)
    for copy, value in zip(whole, each, strict=True):
        np.testing.assert_array_equal(copy, z)
        assert float(value) == pytest.approx(float(loss), rel=1e-5)
    # `minimize` takes the mean over replicas.
    np.testing.assert_allclose(np.mean(gradients, axis=0), expected, rtol=1e-4)
    assert not np.allclose(gradients[0], gradients[1], rtol=0.05)


def test_divergences_are_the_choices_of_the_flag():
    assert tuple(DIVERGENCES) == config_room.DIVERGENCES
