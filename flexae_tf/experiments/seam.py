# ruff: noqa
"""TEMPORARY: stands in for methods.table, methods.resolve and find_flagfile until they are there."""

import pathlib
from typing import NamedTuple

import flexae_tf
from flexae_tf.config import TrainConfig, names
from flexae_tf.networks import architectures

_T = {
    'vae': 'VAE',
    'beta_vae': 'beta-VAE',
    'vae_vampprior': 'VAE-VampPrior',
    'vae_iop': 'VAE-IOP',
    'wae_gan': 'WAE-GAN',
    'ae_gmm': 'AE + GMM (L2)',
    'rae_gmm': 'RAE + GMM (L2)',
    'vae_flow': 'VAE + FLOW',
    'injflow': 'InjFlow^ln',
    'injflow_gmm': 'InjFlow^ln + GMM',
    'two_stage_vae': '2-S VAE',
    'mask_aae': 'MaskAAE',
    'flexae': 'FlexAE',
    'flexae_sr': 'FlexAE-SR',
    'wae_normal': 'WAE (normal prior)',
    'wae_gmm_prior': 'WAE (GMM prior)',
}


class Spec(NamedTuple):
    name: str
    title: str
    density: str | None
    fitted_from: tuple | None


_D = {
    'ae_gmm': 'gaussian_mixture',
    'rae_gmm': 'gaussian_mixture',
    'injflow_gmm': 'gaussian_mixture',
    'two_stage_vae': 'second_stage',
}
METHODS = {
    m: Spec(m, _T[m], _D.get(m), ('injflow', 'gaussian_mixture') if m == 'injflow_gmm' else None)
    for m in names.METHODS
}


class table:
    METHODS = METHODS

    @staticmethod
    def find(n):
        return METHODS[n]

    @staticmethod
    def config_class(n):
        return TrainConfig


def resolve(config, spec):
    return architectures.resolve(config, spec.shape)


ROOT = pathlib.Path(flexae_tf.__file__).resolve().parents[1]


def find_flagfile(name):
    p = ROOT / 'flags' / name
    return p if p.exists() else None


def from_arguments(o, a):
    import contextlib

    from flexae_tf.config import options

    a = [f'--flagfile={ROOT}/flags/{x[11:]}' if x.startswith('--flagfile=') else x for x in a]
    with contextlib.chdir(ROOT):
        return options.from_arguments(o, a)
