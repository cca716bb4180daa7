"""A mixture of Gaussians fitted to codes, as the authors of RAE have it (Ghosh et al. 2020)."""

import pathlib

import numpy as np
from sklearn import mixture

from flexae_tf.data import Dataset
from flexae_tf.errors import NonFiniteLossError, UsageError
from flexae_tf.methods.posterior_samples import draw_codes
from flexae_tf.priors import GaussianMixture
from flexae_tf.training.restore import Run

COMPONENTS = 10
ITERATIONS = 2000


def fit(
    run: Run, dataset: Dataset, folder: pathlib.Path, steps: int | None = None
) -> dict[str, np.ndarray]:
    """Weights [k], means [k, m] and lower factors [k, m, m] of a mixture with full covariances.

    Fitted by expectation maximisation from one k-means start, on a code of every training example.

    Raises:
        UsageError: fewer examples than components, or `steps`, of which it knows none.
        NonFiniteLossError: codes that no mixture fits.
    """
    del folder
    if steps is not None:
        raise UsageError(f'--density_steps={steps}: a gaussian_mixture is not trained by steps')
    codes = draw_codes(run.method, dataset.train.x, seed=run.config.seed)
    if len(codes) < COMPONENTS:
        raise UsageError(
            f'{len(codes)} training examples are too few for {COMPONENTS} Gaussians: train on more'
        )
    model = mixture.GaussianMixture(
        COMPONENTS, covariance_type='full', max_iter=ITERATIONS, random_state=run.config.seed
    )
    try:
        model.fit(codes.astype(np.float64))
    except ValueError as error:  # codes that are not finite, or lie in fewer dimensions
        raise NonFiniteLossError(
            f'no mixture can be fitted to the codes of step {run.step} ({error}): take an earlier '
            '--checkpoint'
        ) from None
    factors = np.linalg.cholesky(model.covariances_)
    return {'weights': model.weights_, 'means': model.means_, 'factors': factors}


def build(run: Run, tensors: dict[str, np.ndarray]) -> GaussianMixture:
    """The mixture of fitted tensors."""
    del run
    return GaussianMixture(**tensors)
