"""Fits, stores and loads the densities of a run: WORKDIR/densities/STEP/NAME.

A density belongs to the weights of one step, and one run can have several densities. `density.npz`
holds the tensors of a density. `density.json` is written last; without it the density is missing.
"""

import importlib
import os
import pathlib
import shlex
import types
from typing import NamedTuple

import numpy as np

from flexae_tf.checked_files import fingerprint, read_arrays, read_json, write_json
from flexae_tf.data import Dataset
from flexae_tf.densities import OWN_PRIOR, find
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.files import atomic_path, lock
from flexae_tf.methods.base import Method
from flexae_tf.training.restore import Run, open_run


class _Manifest(NamedTuple):
    """The contents of `density.json`.

    Attributes:
        checkpoint: digests of the checkpoint files with the weights that the density belongs to.
        sha256: digest of `density.npz`.
        steps: training steps that were requested; None for the default.
    """

    checkpoint: list[str]
    sha256: str
    steps: int | None


_SCHEMA = {'checkpoint': [str], 'sha256': str, 'steps': int | None}


def load_run(
    workdir: str | os.PathLike, checkpoint: str | int = 'last', density: str | None = None
) -> Method:
    """Returns the trained method of a run, ready to sample, encode and decode.

    Arguments and errors are the same as for `open_sampler`.
    """
    return open_sampler(workdir, checkpoint, density).method


def open_sampler(
    workdir: str | os.PathLike, checkpoint: str | int = 'last', density: str | None = None
) -> Run:
    """Opens a run that samples from the requested density.

    Args:
        workdir: the run's folder.
        checkpoint: as for `open_run`.
        density: as for `attach`.

    Raises:
        UserError: as `open_run` and `attach`.
    """
    return attach(open_run(workdir, checkpoint), density)


def attach(run: Run, density: str | None = None) -> Run:
    """Returns `run` with the prior of its method replaced by a fitted density.

    Args:
        run: an open run.
        density: a name of `DENSITIES`, 'none' for the method's own prior, or None for the method's
            default.

    Raises:
        UsageError: unknown density.
        MissingDataError: the density is not fitted; the message names the command that fits it.
        CorruptRunError: the density's files are corrupt, or belong to another checkpoint.
    """
    name = chosen_density(run, density)
    if name is None:
        return run
    path = _manifest(run, name)
    if not path.exists():
        other = f', or use --density={OWN_PRIOR}' if run.method.prior else ''
        raise MissingDataError(
            f'{path.parent}: {name} is not fitted. Run {fit_command(run, name)}{other}.'
        )
    manifest = _read(run, name)
    if not _is_of(manifest, run):
        raise CorruptRunError(f'{path.parent}: fitted to another checkpoint. {_cure(run, name)}.')
    tensors = read_arrays(path.with_suffix('.npz'), cure=_cure(run, name))
    try:
        run.method.prior = _module(name).build(name, run, tensors)
    except (KeyError, ValueError) as error:
        raise CorruptRunError(
            f'{path.parent}: holds other tensors than this version of the code ({error}). '
            f'{_cure(run, name)}.'
        ) from None
    return run._replace(density=f'{name}-{manifest.sha256[:12]}')


def fit(
    run: Run,
    density: str | None,
    dataset: Dataset,
    *,
    steps: int | None = None,
) -> Run:
    """Returns `run` sampling from the requested density, which is fitted if it is missing.

    A density that was fitted to other weights counts as missing and is replaced.

    Args:
        run: an open run.
        density: as for `attach`.
        dataset: the run's own data; the density is fitted to the codes of its training examples.
        steps: training steps of a density that is trained by steps; None for its default, or for
            the number of steps of a density that exists.

    Raises:
        UsageError: too few examples; the density does not take `steps`, or was trained, completely
            or partly, with other `steps`; another process fits it; the folder is not writable.
        CorruptRunError: the density's files are corrupt.
        Interrupted: a signal was received; the next call resumes.
    """
    name = chosen_density(run, density)
    if name is None:
        return run
    if steps is not None and not find(name).trained_by_steps:
        raise UsageError(f'--density_steps={steps}: {name} is not trained by steps. Omit it.')
    if not is_fitted(run, name, steps):
        try:
            _fit(run, name, dataset, steps)
        except OSError as error:
            raise UsageError(
                f'{density_folder(run, name)}: not writable ({error.strerror}). Free disk space or '
                'fix its permissions, then repeat the command.'
            ) from None
    return attach(run, name)


def is_fitted(run: Run, name: str, steps: int | None = None) -> bool:
    """Returns whether a density is fitted to the weights of a run.

    Args:
        run: an open run.
        name: a name of `DENSITIES`.
        steps: training steps that the density must have; None for any number.

    Raises:
        UsageError: the density was trained with other `steps`.
        CorruptRunError: the density's files are corrupt.
    """
    path = _manifest(run, name)
    if not path.exists():
        return False
    manifest = _read(run, name)
    if not _is_of(manifest, run):
        return False
    if steps not in (None, manifest.steps):
        flag = f'--density_steps={manifest.steps}' if manifest.steps else 'no --density_steps'
        raise UsageError(
            f'--density_steps={steps}: {path.parent} was fitted with {flag}. Omit it, or remove '
            'that folder.'
        )
    return True


def chosen_density(run: Run, density: str | None) -> str | None:
    """Returns the density that `--density` selects; None for the method's own prior.

    Raises:
        UsageError: unknown density.
    """
    name = density or run.method.method_spec.density
    if name in (None, OWN_PRIOR):
        return None
    find(name)
    return name


def density_folder(run: Run, name: str) -> pathlib.Path:
    """Returns the folder of a density, fitted or not."""
    return run.workdir.path / 'densities' / f'{run.step:09d}' / name


def fit_command(run: Run, name: str) -> str:
    """Returns the command that fits a density to this step of a run."""
    workdir = shlex.quote(str(run.workdir.path))
    return f'bin/fit.py --workdir={workdir} --density={name} --checkpoint={run.step}'


def _fit(
    run: Run,
    name: str,
    dataset: Dataset,
    steps: int | None,
) -> None:
    """Fits a missing density, in one process at a time."""
    path = _manifest(run, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, because fitting may remove the folder.
    with open(path.parent.with_suffix('.lock'), 'w') as file:
        try:
            lock(file)
        except BlockingIOError:
            raise UsageError(
                f'{path.parent}: another process fits this density. Repeat the command when it has '
                'ended.'
            ) from None
        if is_fitted(run, name, steps):
            return  # by another process, after the check of the caller
        if path.exists():
            print(f'{path.parent}: fitted to another checkpoint; replacing it', flush=True)
        print(f'fitting {name} to the codes of step {run.step}', flush=True)
        path.unlink(missing_ok=True)
        tensors = _module(name).fit(name, run, dataset, path.parent, steps)
        with atomic_path(path.with_suffix('.npz')) as temporary:
            np.savez(temporary, **tensors)
        _, sha256 = fingerprint(path.with_suffix('.npz'))
        manifest = _Manifest(sorted(run.digests), sha256, steps)
        write_json(path, manifest._asdict())


def _read(run: Run, name: str) -> _Manifest:
    """Returns the manifest of a density after a check of its tensors."""
    path = _manifest(run, name)
    tensors, cure = path.with_suffix('.npz'), _cure(run, name)
    try:
        manifest = _Manifest(**read_json(path, _SCHEMA, cure=cure))
        _, sha256 = fingerprint(tensors)
    except OSError as error:
        raise CorruptRunError(
            f'{error.filename}: cannot be read ({error.strerror}). {cure}.'
        ) from None
    if manifest.sha256 != sha256:
        raise CorruptRunError(f'{tensors}: changed since it was written. {cure}.')
    return manifest


def _is_of(manifest: _Manifest, run: Run) -> bool:
    """Returns whether a density was fitted to the weights of a run.

    A step can have two files with the same weights, and either may have been removed since.
    """
    return not run.digests.isdisjoint(manifest.checkpoint)


def _cure(run: Run, name: str) -> str:
    return f'Remove {density_folder(run, name)} and run {fit_command(run, name)}'


def _manifest(run: Run, name: str) -> pathlib.Path:
    return density_folder(run, name) / 'density.json'


def _module(name: str) -> types.ModuleType:
    return importlib.import_module(f'flexae_tf.densities.{find(name).module}')
