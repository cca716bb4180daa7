"""Artifacts made visible: from records of scores, and for pictures of images from trained runs."""

import dataclasses
import functools
import json
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from flexae_tf.config import ReproduceConfig, TrainConfig
from flexae_tf.experiments import artifacts
from flexae_tf.experiments.exhibits import figures, latent_sizes, strips, tables
from flexae_tf.experiments.exhibits.layout import Exhibit, Parts, Picture
from flexae_tf.experiments.exhibits.side_by_side import side_by_side
from flexae_tf.experiments.records import Record
from flexae_tf.experiments.runs import Run
from flexae_tf.files import write_bytes, write_json, write_text

STRIPS = 'strips'  # folder of the pictures of each method
PLACES = {'data_dir': 'DATA', 'inception_path': 'INCEPTION'}
TABLES = {'table1': tables.table_1, 'table2': tables.table_2, 'table3': latent_sizes.table_3}


def exhibit(
    config: ReproduceConfig,
    name: str,
    records: Sequence[Record],
    runs: Sequence[Run],
    folder: pathlib.Path,
) -> Exhibit:
    """What there is to be seen of an artifact.

    Args:
        config: scale and data set, for the command that makes it.
        name: of the artifact.
        records: of its runs.
        runs: its runs, begun or not.
        folder: where its pictures are kept: those of trained networks are drawn once.

    Raises:
        UsageError: scores that cannot be compared, or images that cannot be drawn.
    """
    commands = [_command(config, name)]
    if name in TABLES:
        parts = Parts((TABLES[name](records, commands=commands),))
    elif name == 'fig3':
        parts = figures.figure_3(records, _latent_views(runs, records), commands=commands)
    elif name == 'methods':
        parts = side_by_side(records, _strips(runs, records, folder), commands=commands)
    elif name in figures.EXHIBITS:
        parts = figures.EXHIBITS[name](records, commands=commands)
    else:
        parts = Parts(pictures=_gallery(name, runs, folder))
    return Exhibit(name, artifacts.ARTIFACTS[name].title, *parts)


def folder_of(config: ReproduceConfig, name: str) -> pathlib.Path:
    """Where what is made of an artifact is kept."""
    return pathlib.Path(config.output_dir) / 'artifacts' / f'{name}-{config.scale}'


def write(shown: Exhibit, folder: pathlib.Path) -> pathlib.Path:
    """Keeps tables as Markdown with the pictures beside it; returns the Markdown's path."""
    parts = [f'# {shown.title}\n', *(table.markdown() for table in shown.tables)]
    for picture in shown.pictures:
        write_bytes(folder / f'{picture.name}.png', picture.png)
        parts.append(f'![{picture.name}]({picture.name}.png)\n\n{picture.caption}\n')
    path = folder / f'{shown.name}.md'
    write_text(path, '\n'.join(parts))
    return path


def _command(config: ReproduceConfig, name: str) -> str:
    """What makes it; words stand for where things are."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    options = config.only(name).identity().items()
    flags = [f'--{k}={v}' for k, v in options if v != defaults[k]]
    flags += [f'--{place}={word}' for place, word in PLACES.items() if getattr(config, place)]
    return shlex.join(['python', 'bin/reproduce.py', *flags, '--output_dir=OUTPUT'])


def _trained(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.digest]


def _latent_views(runs: Sequence[Run], records: Sequence[Record]) -> dict[str, figures.LatentView]:
    """Of each model that is trained, the first run's."""
    distances = {
        (r.run, r.checkpoint): r.value for r in records if (r.kind, r.stem) == ('gen', 'fd')
    }
    views: dict[str, figures.LatentView] = {}
    for run in _trained(runs):
        mixture = f'-{run.config.mixture}' if run.config.mixture else ''
        if (name := f'{run.config.method}{mixture}') not in views:
            step, distance = run.config.training_steps, distances.get((run.name, run.digest))
            views[name] = figures.latent_view(run.workdir.path, step, distance=distance)
    return views


def _gallery(name: str, runs: Sequence[Run], folder: pathlib.Path) -> tuple[Picture, ...]:
    pictures: list[Picture] = []
    for run in _trained(runs):
        kept = folder / f'{run.name}.json'
        for part, caption in (_captions(kept, run) or _draw(name, run, kept)).items():
            path = _picture(kept, part)
            of = f'{run.name}, step {run.config.training_steps}'
            pictures.append(Picture(path.stem, f'{caption} ({of})', path.read_bytes()))
    return tuple(pictures)


def _strips(
    runs: Sequence[Run], records: Sequence[Record], folder: pathlib.Path
) -> dict[tuple[str, str], np.ndarray]:
    """Those of what the records are of: of a checkpoint here, or of one that was recorded."""
    checkpoints = {record.run: record.checkpoint for record in records}
    here = [run for run in runs if run.digest and checkpoints.get(run.name) == run.digest]
    elsewhere = [run for run in runs if run not in here]
    paths = strips.kept(elsewhere, checkpoints) | strips.draw(here, folder / STRIPS)
    return {what: strips.read(path) for what, path in paths.items()}


@functools.lru_cache(maxsize=3)  # of each data set one: figures share a run's codes
def _open_gallery(workdir: pathlib.Path, config: TrainConfig, digest: str) -> Any:
    from flexae_tf import data
    from flexae_tf.densities.densities import load_run
    from flexae_tf.experiments.exhibits.galleries import Gallery

    del digest  # of another checkpoint it would be another gallery
    return Gallery(load_run(workdir, config.training_steps), data.load(config))


def _captions(kept: pathlib.Path, run: Run) -> dict[str, str]:
    """Of the parts of a figure, if all of them were drawn of this very checkpoint; else none."""
    try:
        document = json.loads(kept.read_text())
    except OSError:
        return {}
    captions = document.get('captions', {})
    there = all(_picture(kept, part).exists() for part in captions)
    return captions if there and document['checkpoint'] == run.digest else {}


def _picture(kept: pathlib.Path, part: str) -> pathlib.Path:
    return kept.with_name(f'{part}-{kept.stem}.png')


def _draw(name: str, run: Run, kept: pathlib.Path) -> dict[str, str]:
    from flexae_tf import data, image_grid
    from flexae_tf.experiments.exhibits.galleries import GALLERIES, caption

    drawn = GALLERIES[name](_open_gallery(run.workdir.path, run.config, run.digest))
    for part, image in drawn.items():
        write_bytes(_picture(kept, part), image_grid.to_png(image))
    spec = data.describe(run.config)
    captions = {part: caption(part, spec) for part in drawn}
    write_json(kept, {'checkpoint': run.digest, 'captions': captions})
    return captions
