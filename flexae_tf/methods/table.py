"""The table of methods: everything about a method except its numbers, which flagfiles hold.

Importing this module does not import TensorFlow. To add a method, add a row and a class, or give
`--method=package.module:Class` for a class outside the package.
"""

import dataclasses

from flexae_tf.config import TrainConfig
from flexae_tf.config.external import import_object
from flexae_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """A row of the table.

    Attributes:
        name: value of `--method`.
        class_path: class of the method, `package.module:Class`.
        title: name in tables, as in Table 1 of the paper.
        prior: class of `flexae_tf.priors` to sample codes from; None if only a density fitted to
            codes can be sampled from.
        posterior: distribution of a code given an example: 'deterministic', 'gaussian' or 'flow'.
        density: density of `flexae_tf.densities` to sample from by default; None for the prior.
        required_options: options that have no default and that the method needs.
        optional_options: options that only some methods use and that need not be set. Rates, steps
            and sizes that any flagfile may set are not listed.
        depends_on_training_steps: whether a schedule depends on `--training_steps`, so that they
            are part of the identity of a run.
        learned_scale: whether the variance of a Gaussian decoder is learned; otherwise it is 1.
        trains_on_codes: whether the examples are codes of another method.
        fitted_from: (method, density) if the method is another method with a fitted density.
    """

    name: str = ''
    class_path: str = ''
    title: str = ''
    prior: str | None = 'StandardNormal'
    posterior: str = 'deterministic'
    density: str | None = None
    required_options: tuple[str, ...] = ()
    optional_options: tuple[str, ...] = ()
    depends_on_training_steps: bool = False
    learned_scale: bool = False
    trains_on_codes: bool = False
    fitted_from: tuple[str, str] | None = None

    def load_class(self) -> type:
        """Imports the class of the method, and TensorFlow with it."""
        return import_object(self.class_path, flag='--method')


_ADVERSARIAL = ('divergence', 'gradient_penalty_weight', 'critic_batches', 'bn_mix_generated')

_ROWS = (
    MethodSpec(
        'flexae',
        'flexae_tf.methods.flexae:FlexAE',
        'FlexAE',
        prior='LearnedPrior',
        optional_options=_ADVERSARIAL,
    ),
    MethodSpec(
        'wae_normal',
        'flexae_tf.methods.flexae:FlexAE',
        'WAE (normal prior)',
        optional_options=_ADVERSARIAL,
    ),
    MethodSpec(
        'wae_gmm_prior',
        'flexae_tf.methods.flexae:FlexAE',
        'WAE (GMM prior)',
        prior='GaussianMixture',
        required_options=('mixture',),
        optional_options=_ADVERSARIAL,
    ),
    MethodSpec(
        'flexae_sr',
        'flexae_tf.methods.flexae_sr:FlexAESR',
        'FlexAE-SR',
        prior='LearnedPrior',
        optional_options=(
            'smooth_learning_rate',
            'gradient_penalty_weight',
            'critic_batches',
            'bn_mix_generated',
        ),
    ),
    MethodSpec('vae', 'flexae_tf.methods.vae:Vae', 'VAE', posterior='gaussian'),
    MethodSpec(
        'beta_vae',
        'flexae_tf.methods.vae:Vae',
        'beta-VAE',
        posterior='gaussian',
        required_options=('kl_weight',),
    ),
    MethodSpec(
        'vae_vampprior',
        'flexae_tf.methods.vae:Vae',
        'VAE-VampPrior',
        prior='VampPrior',
        posterior='gaussian',
        required_options=('num_pseudo_inputs',),
        optional_options=('kl_weight',),
        depends_on_training_steps=True,
    ),
    MethodSpec(
        'vae_flow',
        'flexae_tf.methods.vae:Vae',
        'VAE + FLOW',
        posterior='flow',
        required_options=('kl_weight',),
    ),
    MethodSpec(
        'vae_flow_prior',
        'flexae_tf.methods.vae:Vae',
        'VAE + FLOW prior',
        prior='FlowPrior',
        posterior='gaussian',
        required_options=('kl_weight',),
    ),
    MethodSpec(
        'vae_iop',
        'flexae_tf.methods.iop:Iop',
        'VAE-IOP',
        prior='ImplicitPrior',
        posterior='gaussian',
        optional_options=('kl_weight', 'critic_batches'),
        depends_on_training_steps=True,
    ),
    MethodSpec(
        'two_stage_vae',
        'flexae_tf.methods.vae:Vae',
        '2-S VAE',
        posterior='gaussian',
        density='second_stage',
        depends_on_training_steps=True,
        learned_scale=True,
    ),
    MethodSpec(
        'wae_gan',
        'flexae_tf.methods.wae:Wae',
        'WAE-GAN',
        required_options=('adversarial_weight',),
        optional_options=('discriminator',),
        depends_on_training_steps=True,
    ),
    MethodSpec(
        'ae_gmm',
        'flexae_tf.methods.rae:Rae',
        'AE + GMM (L2)',
        prior=None,
        density='gaussian_mixture',
    ),
    MethodSpec(
        'rae_gmm',
        'flexae_tf.methods.rae:Rae',
        'RAE + GMM (L2)',
        prior=None,
        density='gaussian_mixture',
        required_options=('code_weight', 'decoder_weight'),
    ),
    MethodSpec(
        'injflow',
        'flexae_tf.methods.injflow:InjFlow',
        'InjFlow^ln',
        required_options=('volume_weight',),
    ),
    MethodSpec(
        'injflow_gmm',
        'flexae_tf.methods.injflow:InjFlow',
        'InjFlow^ln + GMM',
        density='gaussian_mixture',
        required_options=('volume_weight',),
        fitted_from=('injflow', 'gaussian_mixture'),
    ),
    MethodSpec(
        'mask_aae',
        'flexae_tf.methods.maskaae:MaskAae',
        'MaskAAE',
        prior='MaskedNormal',
        required_options=('mask_fidelity_weight',),
        optional_options=('gradient_penalty_weight', 'critic_batches'),
        depends_on_training_steps=True,
    ),
    MethodSpec(
        'second_stage',
        'flexae_tf.methods.second_stage:SecondStage',
        'Second-stage VAE',
        posterior='gaussian',
        depends_on_training_steps=True,
        trains_on_codes=True,
    ),
    MethodSpec(
        'latent_gan',
        'flexae_tf.methods.latent_gan:LatentGan',
        'Latent GAN',
        prior='LearnedPrior',
        optional_options=('divergence', 'gradient_penalty_weight'),
        trains_on_codes=True,
    ),
)

METHODS: dict[str, MethodSpec] = {row.name: row for row in _ROWS}
AUTOENCODERS = tuple(row.name for row in _ROWS if not row.trains_on_codes)


def find(name: str) -> MethodSpec:
    """Returns the row of a method.

    Args:
        name: a name of `METHODS`, or `package.module:Class` of a subclass of `Method` outside the
            package with a `method_spec`, whose module is imported.

    Raises:
        UsageError: unknown name, or a class without a `method_spec`.
    """
    if name in METHODS:
        return METHODS[name]
    if ':' not in name:
        raise UsageError(
            f'--method={name}: unknown method. Choose one of {", ".join(AUTOENCODERS)}, or give '
            'package.module:Class.'
        )
    row = getattr(import_object(name, flag='--method'), 'method_spec', None)
    if not isinstance(row, MethodSpec):
        raise UsageError(
            f'--method={name}: no method. Set its class attribute method_spec to a '
            'flexae_tf.methods.table.MethodSpec.'
        )
    return dataclasses.replace(row, name=name, class_path=name, title=row.title or name)


def config_class(name: str) -> type[TrainConfig]:
    """Returns the class of a method's training options.

    Args:
        name: value of `--method`. A class outside the package can have a `config_class`, a
            subclass of `TrainConfig` with further options.

    Raises:
        UsageError: unknown name, or a `config_class` that is no subclass of `TrainConfig`.
    """
    row = find(name)
    if name in METHODS:
        return TrainConfig
    found = getattr(row.load_class(), 'config_class', TrainConfig)
    if not (isinstance(found, type) and issubclass(found, TrainConfig)):
        raise UsageError(
            f'--method={name}: config_class is {found!r}. Make it a subclass of '
            'flexae_tf.TrainConfig.'
        )
    return found


def title(row: str) -> str:
    """Returns the title of a method, or of METHOD+DENSITY; other rows have their own name."""
    method, _, density = row.partition('+')
    name = find(method).title if method in METHODS or ':' in method else method
    return ' + '.join(filter(None, [name, density.replace('_', ' ')]))
