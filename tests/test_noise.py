import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.noise import Role

KEY = (7, 3, Role.SAMPLE)
PINNED_KEY = [870941164, 7]
PINNED_INTEGERS = [619, 340, 965, 419]


def samples(key):
    return {
        'uniform': noise.uniform(key, [64, 5]),
        'normal': noise.normal(key, [64, 5]),
        'integers': noise.integers(key, [64, 5], 1000),
    }


def test_uniform_depends_on_every_part_of_the_key_and_nothing_else():
    base = noise.uniform(noise.key(*KEY), [1000]).numpy()
    assert np.array_equal(base, noise.uniform(noise.key(*KEY), [1000]))
    others = [(8, 3, Role.SAMPLE), (7, 4, Role.SAMPLE), (7, 3, Role.BATCH), (*KEY, 1)]
    for other in others:
        values = noise.uniform(noise.key(*other), [1000]).numpy()
        assert abs(np.corrcoef(base, values)[0, 1]) < 0.15, other


def test_samples_are_the_same_in_graphs_and_under_xla():
    eager = samples(noise.key(*KEY))
    for jit in (False, True):
        step = tf.constant(3, tf.int64)
        compiled = tf.function(
            lambda s: samples(noise.key(7, s, Role.SAMPLE)),
            jit_compile=jit,
        )(step)
        for name, values in eager.items():
            atol = 1e-5 if name == 'normal' else 0  # XLA's logarithm differs in the last bits
            np.testing.assert_allclose(compiled[name], values, rtol=0, atol=atol)


def test_samples_follow_their_distributions():
    key = noise.key(*KEY)
    uniform = noise.uniform(key, [100_000]).numpy()
    assert 0 < uniform.min() and uniform.max() < 1
    assert scipy.stats.kstest(uniform, 'uniform').pvalue > 1e-3
    assert scipy.stats.kstest(noise.normal(key, [100_000]).numpy(), 'norm').pvalue > 1e-3
    integers = noise.integers(key, [100_000], 7).numpy()
    assert scipy.stats.chisquare(np.bincount(integers, minlength=7)).pvalue > 1e-3
    assert sorted(noise.permutation(key, 100).numpy()) == list(range(100))


@pytest.mark.parametrize('rate', [0.2, 0.5])
def test_dropout_keeps_the_mean(rate):
    mask = noise.dropout(noise.key(*KEY), [400, 500], rate=rate).numpy()
    assert set(np.unique(mask)) == {0.0, np.float32(1.0 / (1.0 - rate))}
    assert np.mean(mask == 0) == pytest.approx(rate, abs=0.01)
    np.testing.assert_array_equal(mask, noise.dropout(noise.key(*KEY), [400, 500], rate=rate))


def test_normal_of_fewer_rows_is_a_prefix():
    key = noise.key(*KEY)
    np.testing.assert_array_equal(noise.normal(key, [100, 3])[:10], noise.normal(key, [10, 3]))


def test_integers_are_pinned():
    key = noise.key(0, 0, Role.BATCH)
    np.testing.assert_array_equal(noise.integers(key, [4], 1000), PINNED_INTEGERS)


def test_roles_are_pinned():
    names = 'WEIGHTS BATCH CRITIC_NOISE CRITIC_MIX SAMPLE SYNTHETIC_DATA SPLIT PROJECTION '
    names += 'POSTERIOR DROPOUT DIRECTION IMAGE_MIX'
    assert [role.name for role in Role] == names.split()
    assert [int(role) for role in Role] == list(range(12))
    assert noise.key(3, 7, Role.SAMPLE, 2).numpy().tolist() == PINNED_KEY


@pytest.mark.parametrize('replicas', [1, 2])
def test_replicas_receive_slices_of_the_global_sample(replicas, mirrored):
    strategy = mirrored(replicas)
    key = noise.key(*KEY)

    @tf.function
    def run():
        return strategy.run(lambda: noise.uniform(key, [12 // replicas, 3]))

    parts = strategy.experimental_local_results(run())
    np.testing.assert_array_equal(np.concatenate(parts), noise.uniform(key, [12, 3]))


def test_shared_normal_is_the_same_on_every_replica(mirrored):
    key, strategy = noise.key(*KEY), mirrored(2)
    expected = noise.shared_normal(key, [12, 3])
    np.testing.assert_array_equal(expected, noise.normal(key, [12, 3]))
    function = tf.function(lambda: strategy.run(lambda: noise.shared_normal(key, [12, 3])))
    for copy in strategy.experimental_local_results(function()):
        np.testing.assert_array_equal(copy, expected)
