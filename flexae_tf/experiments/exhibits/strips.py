"""Strips of pictures of every method: drawn once of a checkpoint, and kept beside the records."""

import json
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from flexae_tf import data
from flexae_tf.data import Dataset
from flexae_tf.experiments.records import FOLDER, scored
from flexae_tf.experiments.runs import Run
from flexae_tf.files import write_bytes, write_json

KEPT = FOLDER / 'strips'  # those that come with the package


def draw(runs: Iterable[Run], folder: pathlib.Path) -> dict[tuple[str, str], pathlib.Path]:
    """The strips of what is trained and scored, by data set and method; of the first run of each.

    What is there of these very checkpoints is not drawn again.

    Args:
        runs: untrained ones are passed over; those on one data set have the same examples.
        folder: where they are kept; made when the first is drawn.
    """
    found: dict[tuple[str, str], pathlib.Path] = {}
    dataset = None
    for run in runs:
        for flags in run.scorings if run.config.training_steps else ():
            what = run.config.dataset, scored(run, flags)[0]
            if what not in found and run.scores(flags):
                found[what] = folder / f'{_stem(run, flags)}.png'
                if _is_of(found[what], run.digest):
                    continue
                if dataset is None or dataset.spec.name != run.config.dataset:
                    dataset = data.load(run.config)
                _draw(run, flags, found[what], dataset)
    return found


def kept(
    runs: Iterable[Run], checkpoints: Mapping[str, str]
) -> dict[tuple[str, str], pathlib.Path]:
    """The strips of runs that come with the package, by data set and method.

    Args:
        runs: in whose place there are records.
        checkpoints: of these, by name; a strip of another one is passed over.
    """
    found: dict[tuple[str, str], pathlib.Path] = {}
    for run in runs:
        for flags in run.scorings if run.config.training_steps else ():
            path = KEPT / f'{_stem(run, flags)}.png'
            if run.name in checkpoints and _is_of(path, checkpoints[run.name]):
                found.setdefault((run.config.dataset, scored(run, flags)[0]), path)
    return found


def keep(paths: Iterable[pathlib.Path]) -> None:
    """Puts strips among those that come with the package."""
    for path in paths:
        KEPT.mkdir(parents=True, exist_ok=True)
        for part in (path, _manifest(path)):
            (KEPT / part.name).write_bytes(part.read_bytes())


def read(path: pathlib.Path) -> np.ndarray:
    """A strip, uint8 [h, w, 1] or [h, w, 3]."""
    from flexae_tf import image_grid

    return image_grid.read_png(path)


def _stem(run: Run, flags: tuple[str, ...]) -> str:
    density = run.scoring(flags).options().density
    return f'{run.name}+{density}' if density else run.name


def _draw(run: Run, flags: tuple[str, ...], path: pathlib.Path, dataset: Dataset) -> None:
    from flexae_tf import image_grid
    from flexae_tf.densities.densities import load_run
    from flexae_tf.experiments.exhibits.galleries import Gallery, strip

    density = run.scoring(flags).options().density
    method = load_run(run.workdir.path, run.config.training_steps, density)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, image_grid.to_png(strip(Gallery(method, dataset))))
    write_json(_manifest(path), {'checkpoint': run.digest})


def _is_of(path: pathlib.Path, checkpoint: str) -> bool:
    """Whether there is a strip, of this very checkpoint."""
    manifest = _manifest(path)
    return manifest.exists() and json.loads(manifest.read_text()) == {'checkpoint': checkpoint}


def _manifest(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix('.json')
