"""Names that flags may take, as plain data."""

METHODS = (
    'flexae',
    'wae_normal',
    'wae_gmm_prior',
    'flexae_sr',
    'vae',
    'beta_vae',
    'vae_vampprior',
    'vae_flow',
    'vae_iop',
    'two_stage_vae',
    'wae_gan',
    'ae_gmm',
    'rae_gmm',
    'injflow',
    'injflow_gmm',
    'mask_aae',
)
STAGES = ('second_stage', 'latent_gan')  # trained on the codes of another method
DENSITIES = ('gaussian_mixture', *STAGES)  # densities fitted to codes after training
# Methods of their own in the paper that are other methods with a density fitted to their codes.
FITTED = {('injflow', 'gaussian_mixture'): 'injflow_gmm'}
STAGED = {'two_stage_vae': 'second_stage'}  # methods that sample from one of STAGES
# What they do at a step depends on how many there will be.
SCHEDULED = (
    'vae_vampprior',
    'vae_iop',
    'two_stage_vae',
    'wae_gan',
    'mask_aae',
    'second_stage',
)
# Trained by a divergence of codes and prior.
JOINT = ('flexae', 'wae_normal', 'wae_gmm_prior')
# Options that are open in the paper: given to these methods, which need them, and to no other.
OPEN = {
    'kl_weight': ('beta_vae', 'vae_flow'),
    'num_pseudo_inputs': ('vae_vampprior',),
    'adversarial_weight': ('wae_gan',),
    'mask_fidelity_weight': ('mask_aae',),
    'mixture': ('wae_gmm_prior',),
    'code_weight': ('rae_gmm',),
    'decoder_weight': ('rae_gmm',),
    'volume_weight': ('injflow', 'injflow_gmm'),
}
# Options that have a default, and mean something to these methods alone.
READ_BY = {
    'divergence': JOINT,
    'critic_batches': (*JOINT, 'flexae_sr', 'vae_iop', 'mask_aae'),
    'bn_mix_generated': (*JOINT, 'flexae_sr'),
}
CODES = 'codes'  # the data set of a stage: codes of a run's training examples
DATASETS = (
    'digits',
    'mnist',
    'fashion_mnist',
    'cifar10',
    'celeba',
    'synthetic_2d',
    'synthetic_5d',
    'folder',
)
# Of the paper, two experiments of its claims that it does not show, and all methods side by side.
ARTIFACTS = (
    'table1',
    'table2',
    'table3',
    *(f'fig{i}' for i in range(2, 13)),
    'theorem2',
    'joint',
    'methods',
)
