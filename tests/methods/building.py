"""Builds methods for tests."""

from flexae_tf.methods import build_method, resolve

# Values of the options that have no default.
REQUIRED = {
    'wae_gmm_prior': dict(mixture='circle'),
    'beta_vae': dict(kl_weight=0.1),
    'vae_vampprior': dict(num_pseudo_inputs=5),
    'vae_flow': dict(kl_weight=0.1),
    'vae_flow_prior': dict(kl_weight=0.1),
    'wae_gan': dict(adversarial_weight=20.0),
    'rae_gmm': dict(code_weight=0.01, decoder_weight=0.001),
    'injflow': dict(volume_weight=0.01),
    'injflow_gmm': dict(volume_weight=0.01),
    'mask_aae': dict(mask_fidelity_weight=1000.0),
}


def build(config, spec):
    """Returns an untrained method of a configuration as given."""
    return build_method(resolve(config, spec), spec)
