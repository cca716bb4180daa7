"""Autoregressive flows compared with automatic differentiation and NumPy."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.networks import flow as flow_lib
from flexae_tf.networks.flow import (
    InverseAutoregressiveFlow,
    MaskedAutoregressiveFlow,
    MaskedDense,
)
from tests.methods.building import build

VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))
CONTEXT = 6
SIZES = (1, 2, 5)


def make(latent_dim, *, perturbed=False):
    """Returns a flow; `perturbed` moves its weights far from their start, so that gates differ."""
    flow = InverseAutoregressiveFlow(latent_dim, context_dim=CONTEXT, seed=3)
    if perturbed:
        rng = np.random.default_rng(0)
        for v in flow.trainable_variables:
            v.assign(1.5 * v.numpy() + 0.3 * rng.normal(size=v.shape) / np.sqrt(len(v.shape) * 50))
    return flow


def make_density(latent_dim, *, perturbed=False):
    """Returns a flow that is a density; `perturbed` makes it far from the identity."""
    flow = MaskedAutoregressiveFlow(latent_dim, seed=3)
    if perturbed:
        rng = np.random.default_rng(0)
        for v in flow.trainable_variables:
            output = v.path.split('/')[0].endswith(('mean', 'gate'))
            v.assign((5.0 if output else 1.0) * (v + 0.1 * rng.normal(size=v.shape)))
    return flow


def inputs(latent_dim, num=4):
    rng = np.random.default_rng(1)
    arrays = (rng.normal(size=[num, size]) for size in (latent_dim, CONTEXT))
    return [tf.constant(array, tf.float32) for array in arrays]


def jacobian(function, x):
    """Returns d function / d x of each example, [batch, outputs, inputs]."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        outputs = tf.unstack(function(x), axis=1)
    rows = [tape.gradient(output, x) for output in outputs]
    return np.stack(rows, axis=1)


@pytest.mark.parametrize('latent_dim', SIZES)
def test_one_step_depends_on_coordinates_before_and_on_the_context(monkeypatch, latent_dim):
    monkeypatch.setattr(flow_lib, 'STEPS', 1)
    flow = make(latent_dim, perturbed=True)
    z, context = inputs(latent_dim)
    for_z = jacobian(lambda v: flow([v, context])[0], z)
    before = np.tril(np.ones([latent_dim, latent_dim], bool), -1)
    after = before.T
    assert np.all(for_z[:, after] == 0.0)
    assert np.all(np.abs(for_z[:, before]) > 1e-6)
    # Neither mean nor gate of a coordinate depends on itself, so its derivative is the gate.
    gates = np.diagonal(for_z, axis1=1, axis2=2)
    np.testing.assert_allclose(np.log(gates).sum(axis=1), flow([z, context])[1], rtol=1e-4)
    assert np.all(np.abs(jacobian(lambda v: flow([z, v])[0], context)) > 1e-6)


@pytest.mark.parametrize('latent_dim', SIZES)
def test_flow_log_determinant_is_the_one_of_the_jacobian(latent_dim):
    flow = make(latent_dim, perturbed=True)
    z, context = inputs(latent_dim)
    _, log_determinant = flow([z, context])
    assert log_determinant.shape == (4,)
    assert np.ptp(log_determinant) > 0.1  # it depends on z
    sign, expected = np.linalg.slogdet(
        jacobian(lambda v: flow([v, context])[0], z).astype(np.float64)
    )
    np.testing.assert_allclose(log_determinant, expected, rtol=1e-4, atol=1e-4)
    # A reversal has the sign of its permutation; every step except the first begins with one.
    assert set(sign) == {(-1.0) ** ((latent_dim * (latent_dim - 1) // 2) * (flow_lib.STEPS - 1))}


def test_flow_determinant_gives_the_density_of_its_samples():
    """The mean of p / q over samples of q is 1 for every density p, if q is their density."""
    num = 20_000
    z_0 = 3.0 * np.random.default_rng(0).normal(size=[num, 2])  # wide, so that the mean converges
    context = tf.repeat(inputs(2, num=1)[1], num, axis=0)
    z, log_determinant = make(2, perturbed=True)([tf.constant(z_0, tf.float32), context])
    log_q = scipy.stats.norm(0.0, 3.0).logpdf(z_0).sum(axis=1) - log_determinant
    centre = np.median(z, axis=0)
    ratios = np.exp(scipy.stats.norm(centre, 0.5).logpdf(z).sum(axis=1) - log_q)
    error = np.std(ratios) / np.sqrt(num)
    assert error < 0.05 and np.mean(ratios) == pytest.approx(1.0, abs=4 * error)


def test_flow_uses_every_coordinate_if_layers_have_fewer_units(monkeypatch):
    monkeypatch.setattr(flow_lib, 'STEPS', 1)
    monkeypatch.setattr(flow_lib, 'HIDDEN', (4, 4))
    z, context = inputs(9)
    flow = make(9, perturbed=True)
    for_z = np.abs(jacobian(lambda v: flow([v, context])[0], z)).max(axis=0)
    assert np.all(np.triu(for_z, 1) == 0.0)
    used = (np.tril(for_z, -1) > 1e-6).any(axis=0)
    np.testing.assert_array_equal(used, [*8 * [True], False])  # no coordinate is after the last


def test_flow_makes_every_coordinate_depend_on_every_other():
    """Without reversals between steps the first coordinate would depend on itself only."""
    z, context = inputs(5)
    flow = make(5, perturbed=True)
    mixed = jacobian(lambda v: flow([v, context])[0], z)
    assert np.all(np.abs(mixed) > 1e-7)


@pytest.mark.parametrize('latent_dim', SIZES)
def test_flow_makes_every_coordinate_depend_on_the_context(latent_dim):
    z, context = inputs(latent_dim)
    flow = make(latent_dim)
    assert np.all(np.abs(jacobian(lambda v: flow([z, v])[0], context)) > 1e-6)


def test_flow_steps_are_near_the_identity_initially():
    latent_dim = 32
    z, context = inputs(latent_dim, num=200)
    moved, log_determinant = (t.numpy() for t in make(latent_dim)([z, context]))
    start = 1.0 / (1.0 + np.exp(-1.5))
    assert start == pytest.approx(0.82, abs=0.005)
    gate = np.exp(log_determinant / (latent_dim * flow_lib.STEPS))  # geometric mean
    np.testing.assert_allclose(gate, start, atol=0.03)
    # Three reversals equal one.
    expected = start**flow_lib.STEPS * z.numpy()[:, ::-1]
    assert np.std(moved - expected) < 0.25 * np.std(expected)
    per_coordinate = [np.corrcoef(moved[:, i], expected[:, i])[0, 1] for i in range(latent_dim)]
    assert min(per_coordinate) > 0.9


def test_flow_equals_a_numpy_implementation():
    """The definition in NumPy, with the masks computed here."""
    latent_dim = 3
    flow = make(latent_dim, perturbed=True)
    z, context = (t.numpy().astype(np.float64) for t in inputs(latent_dim))
    found, found_log_determinant = flow([tf.constant(t, tf.float32) for t in (z, context)])

    def elu(v):
        return np.where(v > 0, v, np.expm1(np.minimum(v, 0.0)))

    log_determinant = 0.0
    hidden_degrees = np.arange(512) % latent_dim  # degree 0 depends on the context only
    degrees = np.arange(1, latent_dim + 1)
    for step in range(4):
        if step:
            z = z[:, ::-1]
        names = ('fc_1', 'context', 'fc_2', 'mean', 'gate')
        layers = {n: flow.get_layer(f'step_{step}_{n}') for n in names}
        w = {n: layer.weights[0].numpy() for n, layer in layers.items()}
        b = {n: layer.weights[1].numpy() for n, layer in layers.items() if n != 'context'}
        assert len(layers['context'].weights) == 1
        first = w['fc_1'] * (hidden_degrees[None] >= degrees[:, None])
        second = w['fc_2'] * (hidden_degrees[None] >= hidden_degrees[:, None])
        last = degrees[None] > hidden_degrees[:, None]
        hidden = elu(z @ first + b['fc_1'] + context @ w['context'])
        hidden = elu(hidden @ second + b['fc_2'])
        mean = hidden @ (w['mean'] * last) + b['mean']
        gate = 1 / (1 + np.exp(-(hidden @ (w['gate'] * last) + b['gate'] + 1.5)))
        z = gate * z + (1 - gate) * mean
        log_determinant = log_determinant + np.sum(np.log(gate), axis=1)
    np.testing.assert_allclose(found, z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found_log_determinant, log_determinant, rtol=1e-4)


@pytest.mark.parametrize('latent_dim', SIZES)
def test_flow_connections_have_a_gradient_unless_masked(latent_dim):
    flow = make(latent_dim)
    start, context = inputs(latent_dim)
    with tf.GradientTape() as tape:
        z, log_determinant = flow([start, context])
        loss = tf.reduce_sum(tf.sin(3.0 * z)) + tf.reduce_sum(log_determinant)
    masks = {
        layer.kernel.path: layer.connections for layer in flow.layers if type(layer) is MaskedDense
    }
    variables = flow.trainable_variables
    assert len(variables) == 4 * (2 + 1 + 2 + 2 + 2) and len(masks) == 4 * 4
    for v, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        mask = masks.get(v.path, np.ones(v.shape)) > 0
        gradient = gradient.numpy()
        assert np.all(gradient[~mask] == 0.0), v.path
        assert np.all(gradient[mask] != 0.0), v.path


def test_flow_weights_depend_on_the_seed_and_differ_between_layers():
    first, again = make(4), make(4)
    kernels = []
    for a, b in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        if a.path.endswith('kernel'):
            kernels.append(a.numpy().ravel()[:20] / np.std(a))
    close = np.abs(np.corrcoef(kernels)) > 0.9
    assert close.sum() == len(kernels)  # each with itself


def test_train_step_updates_every_weight_of_the_smallest_flow():
    options = dict(dataset='synthetic_2d', kl_weight=0.5, batch_size=6, latent_dim=1)
    method = build(TrainConfig(method='vae_flow', **options), VECTORS)
    before = {v.path: v.numpy() for v in method.flow.trainable_variables}
    x = tf.constant(np.random.RandomState(0).rand(1, 6, 128), tf.float32)
    for step in range(2):
        method.train_step(x, tf.constant(step, tf.int64))
    trained = {id(v) for v in method.trainable_variables}
    for v in method.flow.trainable_variables:
        assert id(v) in trained
        masked = v.path.endswith('fc_1/kernel')  # no coordinate precedes the only one
        assert np.array_equal(before[v.path], v.numpy()) == masked, v.path


@pytest.mark.parametrize('latent_dim', SIZES)
def test_density_flow_log_determinant_is_the_one_of_the_jacobian(latent_dim):
    flow = make_density(latent_dim, perturbed=True)
    z, _ = inputs(latent_dim)
    _, log_determinant = flow(z)
    assert log_determinant.shape == (4,)
    assert np.ptp(log_determinant) > 0.1 or latent_dim == 1  # one coordinate: a constant
    _, expected = np.linalg.slogdet(jacobian(lambda v: flow(v)[0], z).astype(np.float64))
    np.testing.assert_allclose(log_determinant, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('latent_dim', SIZES)
def test_density_flow_is_inverted(latent_dim):
    flow = make_density(latent_dim, perturbed=True)
    z, _ = inputs(latent_dim, num=50)
    u = flow(z)[0]
    assert np.abs(u - z).max() > 0.5
    np.testing.assert_allclose(flow.invert(u), z, atol=1e-4)
    np.testing.assert_allclose(flow(flow.invert(z))[0], z, atol=1e-4)
    compiled = tf.function(flow.invert, input_signature=[tf.TensorSpec([None, latent_dim])])
    np.testing.assert_allclose(compiled(u), flow.invert(u), atol=1e-5)


def test_density_flow_is_near_the_identity_initially():
    z, _ = inputs(32, num=200)
    u, log_determinant = make_density(32)(z)
    np.testing.assert_allclose(u, z.numpy()[:, ::-1], atol=1.0)  # three reversals equal one
    assert np.std(u - z.numpy()[:, ::-1]) < 0.2
    assert np.abs(log_determinant / 32).max() < 0.1


def test_density_flow_scales_are_limited():
    """Codes far from the others had infinite gradients with unlimited scales."""
    flow, z = make_density(5, perturbed=True), 1e4 * inputs(5)[0]
    with tf.GradientTape() as tape:
        u, log_determinant = flow(z)
        loss = tf.reduce_mean(tf.reduce_sum(u**2, axis=1) - log_determinant)
    assert np.abs(log_determinant).max() <= flow_lib.STEPS * 5
    assert np.isfinite(tf.linalg.global_norm(tape.gradient(loss, flow.trainable_variables)))


def test_density_flow_makes_every_coordinate_depend_on_every_other():
    flow = make_density(5, perturbed=True)
    z, _ = inputs(5)
    assert np.all(np.abs(jacobian(lambda v: flow(v)[0], z)) > 1e-7)
