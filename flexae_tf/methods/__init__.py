"""The table of methods: structure lives here, numbers live in flagfiles."""

import keras
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.methods.base import Method, MethodSpec
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
from flexae_tf.networks.architectures import resolve
from flexae_tf.priors import (
    GaussianMixture,
    ImplicitPrior,
    LearnedPrior,
    MaskedNormal,
    StandardNormal,
    VampPrior,
)

KERAS = ('tensorflow', 'channels_last', 'float32')  # backend, order of axes, numbers
METHOD_SPECS = {
    'flexae': MethodSpec(FlexAE, prior=LearnedPrior),
    'wae_normal': MethodSpec(FlexAE, prior=StandardNormal),
    'wae_gmm_prior': MethodSpec(FlexAE, prior=GaussianMixture),
    'flexae_sr': MethodSpec(FlexAESR, prior=LearnedPrior),
    'vae': MethodSpec(Vae, prior=StandardNormal, posterior='Gaussian'),
    'beta_vae': MethodSpec(Vae, prior=StandardNormal, posterior='Gaussian'),
    'vae_vampprior': MethodSpec(Vae, prior=VampPrior, posterior='Gaussian'),
    'vae_flow': MethodSpec(Vae, prior=StandardNormal, posterior='flow'),
    'vae_iop': MethodSpec(Iop, prior=ImplicitPrior, posterior='Gaussian'),
    'two_stage_vae': MethodSpec(
        Vae,
        prior=StandardNormal,
        posterior='Gaussian',
        density='second_stage',
        learned_scale=True,
    ),
    'wae_gan': MethodSpec(Wae, prior=StandardNormal),
    'ae_gmm': MethodSpec(Rae, prior=None, density='gaussian_mixture'),
    'rae_gmm': MethodSpec(Rae, prior=None, density='gaussian_mixture'),
    'injflow': MethodSpec(InjFlow, prior=StandardNormal),
    'injflow_gmm': MethodSpec(InjFlow, prior=StandardNormal, density='gaussian_mixture'),
    'mask_aae': MethodSpec(MaskAae, prior=MaskedNormal),
    # Trained on the codes of another method, to be its prior.
    'second_stage': MethodSpec(SecondStage, prior=StandardNormal, posterior='Gaussian'),
    'latent_gan': MethodSpec(LatentGan, prior=LearnedPrior),
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
    method_spec = METHOD_SPECS[config.method]
    return method_spec.method(resolve(config, spec.shape), spec, method_spec)
