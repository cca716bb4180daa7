"""Which density a run samples from, and where it is kept: WORKDIR/ex_post/STEP/NAME.

A density belongs to the weights of one step. It is not part of what a run is: any method can be
given any density, and one run several. `density.npz` holds its tensors and `density.json`, written
last, names the files with these weights and the contents of that one; without it there is none.
"""

import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flexae_tf.data import Dataset
from flexae_tf.densities import gaussian_mixture, latent_models
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.files import atomic_path, lock, write_json
from flexae_tf.methods import Method
from flexae_tf.priors import Prior
from flexae_tf.training.restore import Run, open_run

NONE = 'none'  # the method's own prior, where its default is a density
Tensors = dict[str, np.ndarray]


class _Kind(NamedTuple):
    """How a density is made, and made again from its tensors.

    Attributes:
        fit: (run, data set, folder for what it needs to resume, iterations or None) -> tensors.
        build: (run, tensors) -> prior.
    """

    fit: Callable[[Run, Dataset, pathlib.Path, int | None], Tensors]
    build: Callable[[Run, Tensors], Prior]


def _stage(name: str) -> _Kind:
    return _Kind(
        functools.partial(latent_models.fit, name), functools.partial(latent_models.build, name)
    )


KINDS = {
    'gaussian_mixture': _Kind(gaussian_mixture.fit, gaussian_mixture.build),
    'second_stage': _stage('second_stage'),
    'latent_gan': _stage('latent_gan'),
}


def load_run(
    workdir: str | os.PathLike, checkpoint: str | int = 'last', density: str | None = None
) -> Method:
    """The trained method of the run in `workdir`, ready to sample, encode and decode.

    Arguments and errors are those of `open_sampler`.
    """
    return open_sampler(workdir, checkpoint, density).method


def open_sampler(
    workdir: str | os.PathLike, checkpoint: str | int = 'last', density: str | None = None
) -> Run:
    """A run as `open_run` gives it, that samples from the density asked for.

    Args:
        workdir: the run's folder.
        checkpoint: as for `open_run`.
        density: a name of `config.DENSITIES`, 'none' for the method's own prior, or None for the
            method's default of the two.

    Raises:
        MissingDataError: the density is not fitted yet, or as `open_run`.
        CorruptRunError: the density's files are not whole, or as `open_run`.
    """
    return attach(open_run(workdir, checkpoint), density)


def attach(run: Run, density: str | None) -> Run:
    """Returns `run` with the fitted density in place of its prior.

    Args:
        run: an opened run.
        density: as for `open_sampler`.

    Raises:
        MissingDataError: the density is not fitted yet.
        CorruptRunError: the density's files are not valid.
    """
    name = _choose(run, density)
    if name is None:
        return run
    if not _manifest(run, name).exists():
        raise MissingDataError(
            f'no {name} is fitted to step {run.step} of {run.workdir.path}: '
            f'bin/evaluate.py --density={name} does that, or take --density={NONE}'
        )
    return _attach(run, name)


def fit(run: Run, density: str | None, dataset: Dataset, *, steps: int | None = None) -> Run:
    """`run`, sampling from the density asked for, which is fitted when it is not there.

    One of other weights is none: it is fitted again.

    Args:
        run: of a whole checkpoint.
        density: as for `open_sampler`.
        dataset: the run's own; a density is fitted to the codes of its training examples.
        steps: iterations of a density that is trained; when None its default, or as many as one
            has that is there.

    Raises:
        UsageError: too few examples, or one of other `steps` was trained there, or begun, or
            another process fits this one.
        CorruptRunError: files that are not whole.
        Interrupted: SIGTERM or Ctrl-C was heard; the next call goes on there.
    """
    name = _choose(run, density)
    if name is None:
        return run
    if not _is_there(run, name, steps):
        try:
            _fit(run, name, dataset, steps)
        except OSError as error:
            raise UsageError(
                f'{_manifest(run, name).parent} cannot be written ({error.strerror}): mend that, '
                'and the same command goes on'
            ) from None
    return _attach(run, name)


def _is_there(run: Run, name: str, steps: int | None) -> bool:
    """Whether a density is fitted to these weights; raises `UsageError` where by other `steps`."""
    path = _manifest(run, name)
    if not path.exists():
        return False
    there = _read(path)
    if not _is_of(there, run):
        return False
    if steps not in (None, there.get('steps', steps)):
        given = f'--density_steps={there["steps"]}' if there['steps'] else 'no --density_steps'
        raise UsageError(
            f'--density_steps={steps}: {path.parent} was fitted with {given}; leave it out, or '
            'remove that folder'
        )
    return True


def _fit(run: Run, name: str, dataset: Dataset, steps: int | None) -> None:
    """Fits a density that is not there, in one process at a time."""
    path = _manifest(run, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, which a stage may remove.
    with open(path.parent.with_suffix('.lock'), 'w') as file:
        try:
            lock(file)
        except BlockingIOError:
            raise UsageError(
                f'another process fits {path.parent}: when it has ended, the same command takes '
                'what it fitted'
            ) from None
        if _is_there(run, name, steps):
            return  # by another process, since we looked
        if path.exists():
            print(f'{path.parent} was fitted to another checkpoint', flush=True)
        print(f'fitting {name} to the codes of step {run.step}', flush=True)
        path.unlink(missing_ok=True)
        tensors = KINDS[name].fit(run, dataset, path.parent, steps)
        with atomic_path(path.with_suffix('.npz')) as temporary:
            np.savez(temporary, **tensors)
        contents = {
            'checkpoint': sorted(run.digests),
            'sha256': _sha256(path.with_suffix('.npz')),
            'steps': steps,
        }
        write_json(path, contents)


def _attach(run: Run, name: str) -> Run:
    """Puts a fitted density in the place of the method's prior."""
    path = _manifest(run, name)
    manifest = _read(path)
    if not _is_of(manifest, run):
        raise CorruptRunError(f'{path.parent} was fitted to another checkpoint: {_cure(path)}')
    with np.load(path.with_suffix('.npz')) as tensors:
        run.method.prior = KINDS[name].build(run, dict(tensors))
    return run._replace(density=f'{name}-{manifest["sha256"][:12]}')


def _read(path: pathlib.Path) -> dict[str, Any]:
    """What the manifest of a density says, whose tensors are whole."""
    tensors = path.with_suffix('.npz')
    try:
        manifest = json.loads(path.read_text())
        whole = manifest['sha256'] == _sha256(tensors)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptRunError(f'{path} cannot be used ({error}): {_cure(path)}') from None
    if not whole:
        raise CorruptRunError(f'{tensors} has changed since it was written: {_cure(path)}')
    return manifest


def _is_of(manifest: dict[str, Any], run: Run) -> bool:
    """Whether a density was fitted to the weights of a run; its checkpoint may be gone since."""
    return not run.digests.isdisjoint(latent_models.as_names(manifest.get('checkpoint', [])))


def _cure(manifest: pathlib.Path) -> str:
    folder = manifest.parent
    return f'remove {folder}, and bin/evaluate.py --density={folder.name} fits it again'


def _choose(run: Run, density: str | None) -> str | None:
    name = density or run.method.method_spec.density
    return None if name == NONE else name


def _manifest(run: Run, name: str) -> pathlib.Path:
    return run.workdir.path / 'density' / f'{run.step:09d}' / name / 'density.json'


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
