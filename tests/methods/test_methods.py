"""Tests that every method of the table passes."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.export import Sampler
from flexae_tf.methods import AUTOENCODERS, METHODS
from flexae_tf.priors import StandardNormal
from flexae_tf.training.restore import initial_state, stores
from flexae_tf.training.workdir import Workdir
from tests.methods.building import REQUIRED, build

IMAGES = DatasetSpec('mnist', 'images', (28, 28, 1), 60_000, 10_000, (0.0, 1.0))
VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))


def options_of(method, **options):
    """Returns options with values for the required ones."""
    return dict(method=method, **REQUIRED.get(method, {}), **options)


def make(name, spec):
    small = dict(width_multiplier=0.05, latent_dim=4, batch_size=6, critic_steps=1)
    small |= dict(ae_learning_rate=0.01)  # for visible changes in few steps
    return build(TrainConfig(**options_of(name, **small)), spec)


@pytest.fixture(params=AUTOENCODERS)
def name(request):
    return request.param


@pytest.fixture
def method(name):
    """Returns an untrained method on vectors, whose networks are small."""
    return make(name, VECTORS)


def batches_for(method):
    shape = [method.batches_per_step, method.config.batch_size, *method.spec.shape]
    return tf.constant(np.random.RandomState(0).rand(*shape), tf.float32)


@pytest.mark.parametrize('spec', [VECTORS, IMAGES], ids=['vectors', 'images'])
def test_train_step_changes_every_weight_and_returns_its_tags(name, spec, monkeypatch):
    method, compute, norms = make(name, spec), tf.GradientTape.gradient, {}

    def gradient(tape, target, sources, **options):
        found = compute(tape, target, sources, **options)
        if isinstance(sources, list):  # of variables
            norms.update({v.path: tf.norm(g).numpy() for v, g in zip(sources, found, strict=True)})
        return found

    monkeypatch.setattr(tf.GradientTape, 'gradient', gradient)
    before = {v.path: v.numpy() for v in method.trainable_variables}
    batches = batches_for(method)
    # Not from step 0, where a weight that is warmed up is 0.
    for step in range(1, 3 if spec is VECTORS else 2):
        values = method.train_step(batches, tf.constant(step, tf.int64))
        assert set(values) == set(method.tags)
        for tag, value in values.items():
            assert np.isfinite(value) and (not tag.startswith('grad_norm') or value > 0), tag
    for v in method.trainable_variables:
        if v.path.split('/')[0].endswith('critic') and v.shape == (1,):
            continue  # the last bias of a critic has no gradient: scores enter as differences
        assert not np.array_equal(before[v.path], v.numpy()), v.path
        assert norms[v.path] > 1e-7 * max(norms.values()), f'{v.path}: only rounding moves it'
        assert np.isfinite(v.numpy()).all(), v.path


def test_training_lowers_the_loss_and_resumes_bit_identically(name, tmp_path):
    """Uses the checkpoints of the trainer; its own tests train one method only."""
    batches = batches_for(make(name, VECTORS))
    batches = tf.repeat(batches[:1], len(batches), axis=0)  # a fixed batch

    def run(method, steps):
        values = [method.train_step(batches, tf.constant(step, tf.int64)) for step in steps]
        return [float(v['loss/ae']) for v in values]

    def store(method):
        workdir = Workdir(tmp_path)
        workdir.checkpoints.mkdir(exist_ok=True)
        state = initial_state(method)
        state.step.assign(6)
        return stores(workdir, method.config, method, state)[0]

    whole, resumed = make(name, VECTORS), make(name, VECTORS)
    errors = run(whole, range(6))
    store(whole).save(6)
    errors += run(whole, range(6, 10))
    assert errors[9] < 0.95 * errors[0]
    store(resumed).restore(6)
    assert run(resumed, range(6, 10)) == errors[6:]
    for a, b in zip(whole.state, resumed.state, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


COMPILED = ('flexae_sr', 'wae_gan', 'vae_vampprior', 'vae_flow', 'vae_flow_prior', 'rae_gmm')


def test_public_functions_scale_uint8_images(name):
    method = make(name, IMAGES)
    x = np.random.RandomState(0).randint(0, 256, [3, 28, 28, 1]).astype(np.uint8)
    functions = [method.encode, method.reconstruct, lambda x: method.sample_posterior(x, 1)]
    for function in functions:
        expected = function(tf.constant(x / np.float32(255))).numpy()
        for images in (x, tf.constant(x), x / 255.0):
            np.testing.assert_allclose(function(images), expected, atol=1e-5)
        with pytest.raises(UsageError, match=r'^images with values 0 .. 255: not in \[0, 1\]'):
            function(x.astype(np.float32))


@pytest.mark.parametrize('name', COMPILED)
def test_compiled_train_step_equals_the_eager_one(name):
    eager, compiled = make(name, VECTORS), make(name, VECTORS)
    batches, step = batches_for(eager), tf.constant(3, tf.int64)
    expected, found = (
        eager.train_step(batches, step),
        tf.function(compiled.train_step)(batches, step),
    )
    for tag in eager.tags:
        assert float(found[tag]) == pytest.approx(float(expected[tag]), rel=1e-3, abs=1e-5), tag


# Passes in training mode through encoder and decoder in an iteration of one critic step; None if
# the inputs of the decoder differ.
PASSES = {
    'ae_gmm': (1, 1),
    'rae_gmm': (1, 1),
    'wae_gan': (1, 1),
    'injflow': (1, 1),
    'mask_aae': (4, 2),
    'vae': (1, None),
    'two_stage_vae': (1, None),
    'vae_iop': (2, None),
}


@pytest.mark.parametrize('name', PASSES)
def test_batch_norm_averages_move_once_per_training_pass(name):
    """On equal batches and frozen weights, k passes take an average to s + (a - s) 0.99^k."""
    options = dict(width_multiplier=0.05, latent_dim=4, batch_size=6, critic_steps=1)
    options |= dict.fromkeys((f'{part}_learning_rate' for part in ('ae', 'critic', 'enc')), 1e-30)
    method, twin = (build(TrainConfig(**options_of(name, **options)), IMAGES) for _ in '12')
    x = batches_for(method)[0]
    before = averages(method.encoder), averages(method.decoder)
    z = twin.encoder(x, training=True)
    if PASSES[name][1]:
        twin.decoder(z * twin.mask() if name == 'mask_aae' else z, training=True)
    method.train_step(tf.stack([x] * method.batches_per_step), tf.constant(5, tf.int64))
    for part, was, passes in zip(('encoder', 'decoder'), before, PASSES[name], strict=True):
        moved = averages(getattr(method, part)) - was
        if passes is None:
            assert np.abs(moved).max() > 0.0
            continue
        once = averages(getattr(twin, part)) - was
        ratio = np.median(moved[once != 0.0] / once[once != 0.0])
        assert np.log(1.0 - 0.01 * ratio) / np.log(0.99) == pytest.approx(passes, abs=0.05), part


def averages(network):
    return np.concatenate([v.numpy().ravel() for v in network.non_trainable_variables])


@pytest.fixture
def sampling(method):
    """Returns the method, with a stand-in for a fitted density if it has no prior."""
    if METHODS[method.config.method].prior is None:
        with pytest.raises(UsageError, match='no prior to sample from. Fit .* --density'):
            method.sample_latent(1, seed=0)
        method.prior = StandardNormal(4)
    return method


def test_sample_is_a_function_of_the_seed(sampling):
    method = sampling
    images = method.sample(8, seed=1).numpy()
    assert images.shape == (8, 128) and images.min() >= -1.0 and images.max() <= 1.0
    np.testing.assert_array_equal(images, method.sample(8, seed=1).numpy())
    assert not np.array_equal(images, method.sample(8, seed=2).numpy())
    longer = method.sample_latent(12, seed=1).numpy()
    # Equal noise; a network adds sums in another order in a larger batch.
    np.testing.assert_allclose(
        longer[:8], method.sample_latent(8, seed=1).numpy(), rtol=1e-5, atol=1e-6
    )
    x = batches_for(method)[0]
    assert method.encode(x).shape == (6, 4)
    codes = method.sample_posterior(x, seed=1).numpy()
    np.testing.assert_array_equal(codes, method.sample_posterior(x, seed=1).numpy())
    stochastic = METHODS[method.config.method].posterior != 'deterministic'
    assert stochastic != np.array_equal(codes, method.encode(x).numpy())


def test_export_equals_the_method(sampling, tmp_path):
    method = sampling
    Sampler(method).save(tmp_path / 'model')
    signatures = tf.saved_model.load(str(tmp_path / 'model')).signatures
    x = batches_for(method)[0]
    found = signatures['sample'](num=tf.constant(5), seed=tf.constant(3))['images']
    np.testing.assert_allclose(found, method.sample(5, seed=3), atol=1e-6)
    np.testing.assert_allclose(
        signatures['reconstruct'](images=x)['images'], method.reconstruct(x), atol=1e-6
    )
