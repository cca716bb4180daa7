"""A mixture of Gaussians fitted to codes (Ghosh et al. 2020, RAE)."""

import pathlib

import numpy as np
from sklearn import mixture

from flexae_tf.data import Dataset
from flexae_tf.errors import NonFiniteLossError, UsageError
from flexae_tf.methods.posterior_samples import sample_codes
from flexae_tf.priors import GaussianMixture
from flexae_tf.training.restore import Run

COMPONENTS = 10
MAX_ITERATIONS = 2000


def fit(
    name: str,
    run: Run,
    dataset: Dataset,
    folder: pathlib.Path,
    steps: None,
) -> dict[str, np.ndarray]:
    """Fits a mixture with full covariances to one posterior sample of every training example.

    Expectation maximization in float64 from one k-means start.

    Args:
        name: unused.
        run: an open run, whose codes are fitted.
        dataset: the run's own data.
        folder: unused; nothing is stored before the fit is complete.
        steps: unused.

    Returns:
        `weights` [k], `means` [k, m] and lower triangular `scale_tril` [k, m, m].

    Raises:
        UsageError: fewer examples than components.
        NonFiniteLossError: codes that are not finite, or lie in fewer than m dimensions.
    """
    del name, folder, steps
    codes = sample_codes(run.method, dataset.train.x, seed=run.config.seed)
    if len(codes) < COMPONENTS:
        raise UsageError(
            f'{run.workdir.path}: {len(codes)} training examples are too few for {COMPONENTS} '
            'Gaussians. Train on more examples.'
        )
    model = mixture.GaussianMixture(
        COMPONENTS,
        covariance_type='full',
        max_iter=MAX_ITERATIONS,
        random_state=run.config.seed,
    )
    try:
        model.fit(codes.astype(np.float64))
    except ValueError as error:
        raise NonFiniteLossError(
            f'{run.workdir.path}: no mixture can be fitted to the codes of step {run.step} '
            f'({error}). Use an earlier --checkpoint.'
        ) from None
    scale_tril = np.linalg.cholesky(model.covariances_)
    return {'weights': model.weights_, 'means': model.means_, 'scale_tril': scale_tril}


def build(name: str, run: Run, tensors: dict[str, np.ndarray]) -> GaussianMixture:
    """Returns the mixture with fitted tensors."""
    del name, run
    return GaussianMixture(tensors['weights'], tensors['means'], tensors['scale_tril'])
