"""The table of methods: structure lives here, numbers live in flagfiles."""

import keras
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods.base import Method, Recipe
from flexae_tf.methods.flexae import FlexAE
from flexae_tf.methods.flexae_sr import FlexAESR
from flexae_tf.methods.injflow import InjFlow
from flexae_tf.methods.iop import Iop
from flexae_tf.methods.latent_gan import LatentGan
from flexae_tf.methods.maskaae import MaskAae
from flexae_tf.methods.rae import Rae
from flexae_tf.methods.second_stage import SecondStage
from flexae_tf.methods.vae import Vae
from flexae_tf.methods.wae import Wae
from flexae_tf.networks.tables import resolve
from flexae_tf.priors import (
    GaussianMixture,
    ImplicitPrior,
    Learned,
    MaskedNormal,
    StandardNormal,
    VampPrior,
)

KERAS = ('tensorflow', 'channels_last', 'float32')  # backend, order of axes, numbers
RECIPES = {
    'flexae': Recipe(FlexAE, prior=Learned),
    'wae_normal': Recipe(FlexAE, prior=StandardNormal),
    'wae_gmm_prior': Recipe(FlexAE, prior=GaussianMixture),
    'flexae_sr': Recipe(FlexAESR, prior=Learned),
    'vae': Recipe(Vae, prior=StandardNormal, posterior='Gaussian'),
    'beta_vae': Recipe(Vae, prior=StandardNormal, posterior='Gaussian'),
    'vae_vampprior': Recipe(Vae, prior=VampPrior, posterior='Gaussian'),
    'vae_flow': Recipe(Vae, prior=StandardNormal, posterior='flow'),
    'vae_iop': Recipe(Iop, prior=ImplicitPrior, posterior='Gaussian'),
    'two_stage_vae': Recipe(
        Vae,
        prior=StandardNormal,
        posterior='Gaussian',
        ex_post='second_stage',
        learned_scale=True,
    ),
    'wae_gan': Recipe(Wae, prior=StandardNormal),
    'ae_gmm': Recipe(Rae, prior=None, ex_post='gaussian_mixture'),
    'rae_gmm': Recipe(Rae, prior=None, ex_post='gaussian_mixture'),
    'injflow': Recipe(InjFlow, prior=StandardNormal),
    'injflow_gmm': Recipe(InjFlow, prior=StandardNormal, ex_post='gaussian_mixture'),
    'mask_aae': Recipe(MaskAae, prior=MaskedNormal),
    # Trained on the codes of another method, to be its prior.
    'second_stage': Recipe(SecondStage, prior=StandardNormal, posterior='Gaussian'),
    'latent_gan': Recipe(LatentGan, prior=Learned),
}


def build_method(config: TrainConfig, spec: DatasetSpec) -> Method:
    """An untrained method for the examples that `spec` describes.

    Raises:
        UsageError: networks that do not fit the examples, or Keras is set up for something else.
    """
    found = keras.config.backend(), keras.config.image_data_format(), keras.config.floatx()
    if found != KERAS:
        raise UsageError(
            f'Keras is set up for {", ".join(found)}, not {", ".join(KERAS)}: correct '
            'KERAS_BACKEND, or ~/.keras/keras.json'
        )
    # A property of the process: set wherever a method is made, so that it computes everywhere as
    # it was trained.
    tf.config.experimental.enable_tensor_float_32_execution(config.precision != 'float32')
    recipe = RECIPES[config.method]
    return recipe.method(resolve(config, spec.shape), spec, recipe)
