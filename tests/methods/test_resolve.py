"""Tests of `methods.resolve`: options of a row, sizes, identity."""

import dataclasses

import pytest

from flexae_tf import data
from flexae_tf.config import ResolvedConfig, TrainConfig
from flexae_tf.config.options import option
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods import METHODS, build_method, resolve
from tests.methods.building import REQUIRED

IMAGES = DatasetSpec('mnist', 'images', (28, 28, 1), 60_000, 10_000, (0.0, 1.0))
CODES = DatasetSpec('codes', 'vectors', (8,), None, None, (-9.0, 9.0))
# Hashes of runs that exist: a run resumes only with the same hash.
HASHES = {
    'flexae': 'b5f944d51695',
    'wae_normal': '5b3ac5784a1f',
    'wae_gmm_prior': 'a360ee2e7ef3',
    'flexae_sr': 'd82353e39c4b',
    'vae': 'e83629dc0f8f',
    'beta_vae': 'c86344c7e91d',
    'vae_vampprior': '75c94e0f8c62',
    'vae_flow': 'd7c8a8804ff3',
    'vae_flow_prior': 'd645601d9cdc',
    'vae_iop': '28d98ae99b26',
    'two_stage_vae': 'ee92a09b42ae',
    'wae_gan': 'b10263774acc',
    'ae_gmm': '62eaafe17e85',
    'rae_gmm': '092dfabf768a',
    'injflow': 'fdbdac370ede',
    'injflow_gmm': 'f837bc0509da',
    'mask_aae': 'be51485d5f7b',
    'second_stage': '408931c8f8ec',
    'latent_gan': 'dc9d1581a1c4',
}


def resolved(method='flexae', **options):
    """Returns a resolved configuration of a method on the spec of its kind of examples."""
    if METHODS[method].trains_on_codes:
        options = dict(dataset='codes', network='mnist', latent_dim=4) | options
        return resolve(TrainConfig(method=method, **options), CODES)
    config = TrainConfig(method=method, **{'dataset': 'mnist', **options})
    return resolve(config, IMAGES if config.dataset == 'mnist' else data.describe(config))


@pytest.mark.parametrize('method', METHODS)
def test_resolve_keeps_the_identity_of_existing_runs(method):
    config = resolved(method, training_steps=500, **REQUIRED.get(method, {}))
    assert config.identity_hash() == HASHES[method]


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(dataset='synthetic_5d', divergence='mmd', critic_batches='shared', seed=3), '260f0'),
        (dict(method='vae_iop'), '14eea'),
    ],
)
def test_resolve_keeps_the_identity_of_options(options, expected):
    assert resolved(**options).identity_hash().startswith(expected)


@pytest.mark.parametrize('method', METHODS)
def test_identity_contains_training_steps_where_a_schedule_depends_on_them(method):
    configs = [resolved(method, training_steps=n, **REQUIRED.get(method, {})) for n in (5, 6)]
    differ = configs[0].identity_hash() != configs[1].identity_hash()
    assert differ == METHODS[method].depends_on_training_steps


def test_resolve_fills_in_sizes():
    config = resolved()
    assert isinstance(config, ResolvedConfig) and (config.latent_dim, config.noise_dim) == (32, 32)
    config = resolved(latent_dim=3, noise_dim=5)
    assert (config.latent_dim, config.noise_dim) == (3, 5)


@pytest.mark.parametrize('method', ['flexae', 'vae_iop'])
def test_resolve_returns_a_resolved_configuration_unchanged(method):
    config = resolved(method)
    again = resolve(config, IMAGES)
    assert again == config and again.identity_hash() == config.identity_hash()
    assert dataclasses.replace(config, seed=1).identity_hash() != config.identity_hash()


def test_resolve_keeps_the_options_of_a_subclass():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Extended(TrainConfig):
        extra: 'int' = option(1, 'An option.')

    plain, changed = (resolve(Extended(dataset='mnist', extra=e), IMAGES) for e in (1, 2))
    assert isinstance(changed, Extended) and isinstance(changed, ResolvedConfig)
    assert plain.identity_hash() == resolved().identity_hash() != changed.identity_hash()


def test_build_method_refuses_a_configuration_as_given():
    with pytest.raises(TypeError, match=r'not resolved. Pass methods.resolve'):
        build_method(TrainConfig(dataset='mnist'), IMAGES)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(method='wae'), '--method=wae: unknown method. Choose one of flexae, '),
        (dict(method='vae', kl_weight=1.0), '--kl_weight=1.0: .* by beta_vae, vae_vampprior'),
        (dict(method='vae', divergence='mmd'), '--divergence=mmd: not used by --method=vae, only'),
        (dict(method='two_stage_vae', divergence='mmd'), '--divergence=mmd: not used by'),
        (dict(smooth_learning_rate=0.5), '--smooth_learning_rate=0.5: .* only by flexae_sr. Omit'),
        (dict(method='vae', gradient_penalty_weight=3.0), 'weight=3.0: .* by flexae, wae_normal, '),
        (dict(method='vae', critic_batches='shared'), 'critic_batches=shared: .* by flexae, '),
        (
            dict(method='wae_gan', adversarial_weight=1, bn_mix_generated=True),
            '--bn_mix_generated=True: not used by --method=wae_gan, only by flexae, ',
        ),
        (dict(method='vae', code_weight=0.0), '--code_weight=0.0: .* only by rae_gmm. Omit it.'),
        (dict(method='ae_gmm', code_weight=0.0), '--code_weight=0.0: .* only by rae_gmm. Omit it.'),
        (dict(method='rae_gmm'), '--code_weight: missing.*=flags/methods/rae_gmm.flags.'),
        (dict(method='rae_gmm', code_weight=0.1), '--decoder_weight: missing'),
        (dict(method='rae_gmm', decoder_weight=0.1), '--code_weight: missing'),
        (dict(method='second_stage'), '--dataset=mnist. Fit it .* --density=second_stage'),
        (dict(method='wae_gmm_prior'), '--mixture: missing'),
        (dict(method='wae_gmm_prior', mixture='data'), '--mixture=data: only .* --dataset=mnist'),
        (
            dict(method='wae_gmm_prior', mixture='data', dataset='synthetic_2d', latent_dim=3),
            '--latent_dim=3. Use --mixture=circle',
        ),
        (dict(method='wae_gmm_prior', mixture='circle', latent_dim=1), '--latent_dim=1: too small'),
        (dict(network='synthetic'), '--network=synthetic: for vectors'),
    ],
)
def test_resolve_refuses_options_that_do_not_fit(options, message):
    with pytest.raises(UsageError, match=message) as error:
        config = TrainConfig(**{'dataset': 'mnist', **options})
        resolve(config, IMAGES if config.dataset == 'mnist' else data.describe(config))
    assert '\n' not in str(error.value)


def test_resolve_accepts_required_options_of_zero():
    assert resolved('rae_gmm', code_weight=0.0, decoder_weight=0.0).code_weight == 0.0
    assert resolved('wae_normal', divergence='mmd').divergence == 'mmd'
