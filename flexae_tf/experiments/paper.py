"""Numbers and claims of the paper (arXiv 2006.05838); FIDs are of 10000 and 10000 test images."""

import collections
import itertools
from collections.abc import Mapping
from typing import Any

Fid = collections.namedtuple('Fid', 'rec gen')  # of reconstructions and of samples
PrecisionRecall = collections.namedtuple('PrecisionRecall', 'precision recall')  # of samples

DATASETS = {'mnist': 'MNIST', 'cifar10': 'CIFAR-10', 'celeba': 'CelebA'}


def _row(kind: type, *numbers: float) -> dict[str, tuple]:
    return {d: kind(*numbers[2 * i : 2 * i + 2]) for i, d in enumerate(DATASETS)}


# Table 1: Rec. and Gen. FID on MNIST, CIFAR-10 and CelebA.
TABLE_1 = {
    'vae': _row(Fid, 65.10, 57.04, 176.5, 169.1, 62.36, 72.48),
    'beta_vae': _row(Fid, 7.91, 24.31, 43.86, 83.59, 30.06, 50.66),
    'vae_vampprior': _row(Fid, 11.01, 49.75, 107.33, 161.02, 49.71, 64.26),
    'vae_iop': _row(Fid, 8.01, 32.61, 92.17, 141.92, 41.52, 57.30),
    'wae_gan': _row(Fid, 8.06, 13.30, 42.39, 72.90, 29.34, 39.58),
    'ae_gmm': _row(Fid, 8.69, 12.14, 41.45, 70.97, 30.16, 43.89),
    'rae_gmm': _row(Fid, 6.15, 7.30, 40.48, 69.24, 29.05, 35.30),
    'vae_flow': _row(Fid, 8.62, 20.17, 43.87, 73.28, 36.31, 42.39),
    'injflow': _row(Fid, 7.40, 35.96, 40.11, 78.78, 27.93, 47.70),
    'injflow_gmm': _row(Fid, 7.40, 9.93, 40.11, 68.26, 27.93, 40.23),
    'two_stage_vae': _row(Fid, 6.38, 7.41, 47.03, 86.15, 29.38, 37.85),
    'mask_aae': _row(Fid, 8.46, 10.52, 58.40, 71.90, 35.75, 40.49),
    'flexae': _row(Fid, 4.33, 4.69, 39.91, 62.66, 21.17, 25.96),
}
METHODS = tuple(TABLE_1)  # rows of Tables 1 and 2
# The text calls FlexAE comparable to GANs on MNIST and CelebA, without numbers. These are the Gen.
# FIDs of tuned GANs of Lucic et al. 2018, as cited in Table 1 of Dai and Wipf 2019.
GANS = {'WGAN': (6.7, 55.2, 41.3), 'WGAN-GP': (20.3, 55.8, 30.3)}
# "The average runtime" on a GTX 1080 Ti: hours for 130000 iterations with batches of 128.
HOURS = dict(zip(DATASETS, (20, 40, 100), strict=True))
# Table 4: shape of an image, and sizes of the training split and the test split.
TABLE_4 = {
    'mnist': ((28, 28, 1), 60_000, 10_000),
    'cifar10': ((32, 32, 3), 50_000, 10_000),
    'celeba': ((64, 64, 3), 162_770, 19_962),
}

# Table 2: precision / recall (Sajjadi et al. 2018) on the same data sets; only the caption gives
# the order of the two numbers. All of FlexAE's are bold, although RAE + GMM's recall on CIFAR-10 is
# higher.
TABLE_2 = {
    'vae': _row(PrecisionRecall, 0.69, 0.76, 0.23, 0.47, 0.47, 0.58),
    'two_stage_vae': _row(PrecisionRecall, 0.97, 0.98, 0.47, 0.76, 0.75, 0.72),
    'rae_gmm': _row(PrecisionRecall, 0.98, 0.98, 0.61, 0.87, 0.74, 0.75),
    'mask_aae': _row(PrecisionRecall, 0.94, 0.96, 0.58, 0.83, 0.59, 0.68),
    'flexae': _row(PrecisionRecall, 0.99, 0.99, 0.68, 0.85, 0.89, 0.88),
}

BASE_LATENT_DIMS = {'mnist': 20, 'celeba': 64}  # m_b of Table 3
WAE, FLEXAE = 'wae_gan', 'flexae'  # CelebA's 2 m_b is Table 1's m, and its "WAE" there is WAE-GAN


def _size(*numbers: float) -> dict[str, dict[str, Fid]]:
    """Splits a row of Table 3: per data set Rec. WAE, Rec. FlexAE, Gen. WAE, Gen. FlexAE."""
    columns = {d: numbers[4 * i : 4 * i + 4] for i, d in enumerate(BASE_LATENT_DIMS)}
    return {d: {WAE: Fid(*c[::2]), FLEXAE: Fid(*c[1::2])} for d, c in columns.items()}


# Table 3: FID by latent size m; keys are m / m_b.
TABLE_3 = {
    1: _size(7.16, 5.59, 14.32, 5.99, 30.12, 24.45, 40.23, 26.09),
    2: _size(5.17, 3.22, 23.11, 4.22, 29.34, 21.17, 39.58, 25.96),
    4: _size(3.12, 1.42, 35.20, 5.92, 28.21, 21.13, 49.34, 28.36),
}


# A claim that, in each pair of rows, the first row has the lower mean in a column.
Order = collections.namedtuple('Order', 'text pairs column', defaults=('gen',))
# A claim about a column over ordered rows: it 'falls', 'rises' or is 'constant'.
Trend = collections.namedtuple('Trend', 'text column rows direction')

# "FlexAE offers the best performance"; "parametric learnable priors (VampPrior, IOP, Flow) offer
# some improvement over the naive VAE"; "complex prior models tend to over fit more (gap between the
# generation and reconstruction FIDs)".
_COMPLEX = ('vae_vampprior', 'vae_iop', 'vae_flow')
_LOWER = tuple((m, 'vae') for m in _COMPLEX)
TABLE_1_CLAIMS = (
    Order('FlexAE has the lowest Gen.', tuple((FLEXAE, m) for m in METHODS if m != FLEXAE)),
    Order('VampPrior, IOP and Flow have a lower Gen. than the VAE', _LOWER),
    Order('... and a larger Gen. / Rec.', tuple(pair[::-1] for pair in _LOWER), 'gap'),
)
# "FlexAE offers significantly better numbers in terms of both Precision and Recall".
_OTHERS = tuple((m, FLEXAE) for m in TABLE_2 if m != FLEXAE)
TABLE_2_CLAIMS = tuple(
    Order(f'The other methods have a lower {key} than FlexAE', _OTHERS, key)
    for key in PrecisionRecall._fields
)

# Models of Figs. 2 and 3: a method, its mixture and its divergence if it is not Wasserstein. The
# paper has neither the mixture on a circle, nor MMD, nor WAE-GAN there.
MODELS = {
    'vae': 'VAE',
    'wae_normal': 'WAE (normal prior)',
    'wae_normal-mmd': 'WAE (normal prior, MMD)',
    'wae_gan': 'WAE-GAN',
    'wae_gmm_prior-data': "WAE (GMM prior: the data's)",
    'wae_gmm_prior-circle': 'WAE (GMM prior: circle)',
    'flexae': 'FlexAE',
}


def model_of(method: str, options: Mapping[str, Any]) -> str:
    """Returns the key of `MODELS` of a run with training options that differ from defaults."""
    return '-'.join(filter(None, [method, options.get('mixture'), options.get('divergence')]))


_UNIMODAL, _MULTIMODAL = ('vae', 'wae_normal'), ('wae_gmm_prior-data', FLEXAE)
FIG_3 = (
    Order(
        'Each multimodal prior of the paper has a lower Gen. than each unimodal prior',
        tuple(itertools.product(_MULTIMODAL, _UNIMODAL)),
    ),
    Order(
        'So has a mixture that has only the right number of modes (not in the paper)',
        tuple(itertools.product(['wae_gmm_prior-circle'], _UNIMODAL)),
    ),
)
PRIORS = ((FLEXAE, 'wae_normal'),)  # priors of Fig. 2
FIG_2 = (
    Order('FlexAE: lower sliced W1 between P_z and Q_z', PRIORS, 'sliced'),
    Order('... over the scale of the codes', PRIORS, 'sliced_scaled'),
    Order('... by exact W1', PRIORS, 'exact'),
    Order('... by exact W1 over the scale of the codes', PRIORS, 'exact_scaled'),
    Order("... by each method's own critic", PRIORS, 'critic'),
    Order('... by the critics over the scale of the codes', PRIORS, 'critic_scaled'),
    Order('FlexAE: lower Fréchet distance of samples', PRIORS),
    Order('FlexAE: lower Fréchet distance of reconstructions (not in the paper)', PRIORS, 'rec'),
)
TRUE_DIM = 5  # n of synthetic_5d
NOISE_DIMS = (2, 3, 5, 10, 50)
AT_FLOOR = 1.5  # times the floor
_LARGE_ENOUGH = tuple(m for m in NOISE_DIMS if m >= TRUE_DIM)
_SMALLER = tuple((m, n) for m in _LARGE_ENOUGH for n in NOISE_DIMS if n < TRUE_DIM)
THEOREM_2_FLOOR = Order(
    f"m' >= n: W1 / scale reaches its floor (at most {AT_FLOOR} times)", _LARGE_ENOUGH, 'sliced'
)
THEOREM_2 = (
    Order("m' >= n has a lower Gen. than m' < n", _SMALLER),
    Order("m' >= n has a lower sliced W1 over scale than m' < n", _SMALLER, 'sliced'),
    Order("m' >= n has a lower exact W1 over scale than m' < n", _SMALLER, 'exact_scaled'),
)
# "If m > n, then D_Z > 0 for all phi" for a fixed prior outside the codes' reach; P-GEN can be
# inside it. The claims are about W1 over the scale of the codes, by the latent size.
FIXED = 'wae_normal'
_ABOVE = tuple(m for m in NOISE_DIMS if m > TRUE_DIM)
_UP_TO = tuple(m for m in NOISE_DIMS if m <= TRUE_DIM)
THEOREM_1 = (
    Order(
        'm > n: the WAE stays above the floor', tuple((('floor', m), (FIXED, m)) for m in _ABOVE)
    ),
    Order(
        'The WAE is nearer to its prior for m <= n than for m > n',
        tuple(((FIXED, m), (FIXED, k)) for m in _UP_TO for k in _ABOVE),
    ),
    Order(
        'm > n: FlexAE is nearer to its prior than the WAE',
        tuple(((FLEXAE, m), (FIXED, m)) for m in _ABOVE),
    ),
)
# An experiment of this project on the paper's claim that training jointly matters.
_JOINT = {
    'ae_gmm+latent_gan': 'Joint training: lower Gen. than the same P-GEN trained on finished codes',
    'ae_gmm': 'Joint training: lower Gen. than a mixture fitted to finished codes',
    'flexae+gaussian_mixture': 'On jointly trained codes, P-GEN: lower Gen. than a fitted mixture',
}
JOINT = tuple(Order(text, ((FLEXAE, row),)) for row, text in _JOINT.items())

_OVER_FITTING = 'That rise is over-fitting: Gen. against training images falls from model 4 to 6'
FIG_5_ORDER = Order(
    'Moderate capacity (models 3 and 4) has a lower Gen. test than each other model',
    tuple(itertools.product((3, 4), (1, 2, 5, 6))),
)
FIG_5 = (
    Trend('Rec. against test images falls with capacity', 'rec test', (1, 2, 3, 4, 5, 6), 'falls'),
    Trend('Gen. against test images rises from model 4 to 6', 'gen test', (4, 5, 6), 'rises'),
    Trend(_OVER_FITTING, 'gen train', (4, 5, 6), 'falls'),
)
# "with increasing m, the reconstruction FID decreases for both"; "the generation FID of WAE models
# increases with m"; "generation FID of FlexAE remains almost constant".
TABLE_3_TRENDS = {
    ('rec', WAE): 'falls',
    ('rec', FLEXAE): 'falls',
    ('gen', WAE): 'rises',
    ('gen', FLEXAE): 'constant',
}
CONSTANT = 5.99 / 4.22  # the largest ratio of values of FlexAE's Gen. in Table 3
