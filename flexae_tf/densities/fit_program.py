"""The fit program: fits a density to the codes of a trained run."""

import dataclasses

from flexae_tf import data, shutdown
from flexae_tf.config.fit import FitConfig
from flexae_tf.densities import DENSITIES, OWN_PRIOR, densities
from flexae_tf.errors import UsageError
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run, open_run


def fit(config: FitConfig) -> None:
    """Fits `--density`, or the default density of the run's method, to one checkpoint.

    The same command resumes an interrupted fit, and does nothing once the density is fitted.

    Raises:
        UserError: wrong flags, missing data, corrupt files, or a signal.
    """
    print(distribution.choose_devices(config.device), flush=True)
    run = open_run(config.workdir, config.checkpoint)
    name = densities.chosen_density(run, config.density)
    if config.density == OWN_PRIOR:
        raise UsageError(
            f'--density={OWN_PRIOR}: nothing to fit. Choose one of {", ".join(DENSITIES)}.'
        )
    if name is None:
        raise UsageError(
            f'--density: {run.config.method} has a prior and no default density. Choose one of '
            f'{", ".join(DENSITIES)}.'
        )
    state = 'already fitted' if densities.is_fitted(run, name, config.density_steps) else 'fitted'
    fit_missing(run, name, steps=config.density_steps, data_dir=config.data_dir)
    print(f'{name}: {state} to step {run.step}, in {densities.density_folder(run, name)}')


def fit_missing(
    run: Run, density: str | None, *, steps: int | None = None, data_dir: str | None = None
) -> Run:
    """Returns `run` sampling from the requested density; loads the data only to fit it.

    Args:
        run: an open run.
        density: as for `densities.attach`.
        steps: as for `densities.fit`.
        data_dir: folder of the data; None for the folder that the run was trained from.

    Raises:
        MissingDataError: the data are absent or unreadable.
        UsageError: the run was trained on other examples, or as `densities.fit`.
        UserError: as `densities.fit`.
        Interrupted: a signal was received.
    """
    name = densities.chosen_density(run, density)
    if name is None or densities.is_fitted(run, name, steps):
        return densities.attach(run, density)
    config = dataclasses.replace(run.config, data_dir=data_dir) if data_dir else run.config
    dataset = data.load(config)
    run.workdir.check_examples(dataset)
    fitted = densities.fit(run, name, dataset, steps=steps)
    shutdown.check('while fitting a density')
    return fitted
