"""The table of methods: structure lives here, numbers live in flagfiles."""

import dataclasses

import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.methods.base import Method
from flexae_tf.methods.flexae import FlexAE
from flexae_tf.methods.vae import Vae
from flexae_tf.methods.wae import Wae
from flexae_tf.networks.tables import resolve


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One row: the class that trains, and where its latent codes come from."""

    method: type[Method]
    prior: str
    posterior: str


RECIPES = {
    'flexae': Recipe(FlexAE, prior='learned', posterior='deterministic'),
    'vae': Recipe(Vae, prior='standard normal', posterior='Gaussian'),
    'beta_vae': Recipe(Vae, prior='standard normal', posterior='Gaussian'),
    'wae_gan': Recipe(Wae, prior='standard normal', posterior='deterministic'),
}


def build_method(config: TrainConfig, spec: DatasetSpec) -> Method:
    """An untrained method for the examples that `spec` describes.

    Raises:
        UsageError: networks that do not fit the examples.
    """
    # A property of the process: set wherever a method is made, so that it computes everywhere as
    # it was trained.
    tf.config.experimental.enable_tensor_float_32_execution(config.precision != 'float32')
    return RECIPES[config.method].method(resolve(config, spec.shape), spec)
