"""Program that plans, runs and renders tables and figures; README.md lists its modes."""

import base64
import dataclasses
import datetime
import functools
import math
import os
import pathlib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

from flexae_tf import data, methods
from flexae_tf.checked_files import read_json, write_json
from flexae_tf.config import ReproduceConfig
from flexae_tf.environment import code_version, import_tensorflow
from flexae_tf.errors import UserError
from flexae_tf.evaluation.markdown_table import markdown_table
from flexae_tf.experiments import (
    batch_norm_table,
    figures,
    image_tables,
    paper,
    plans,
    results,
    runner,
    synthetic_tables,
    tune,
)
from flexae_tf.experiments.figures import Image
from flexae_tf.experiments.jobs import VECTORS, Evaluation, Job, Samples
from flexae_tf.experiments.results import Score
from flexae_tf.experiments.tables import Table
from flexae_tf.files import lock, write_bytes, write_text

HERE = pathlib.Path(__file__).parent  # package data lies beside this module
RESULTS, TEMPLATE = HERE / 'RESULTS.md', HERE / 'RESULTS.template'
IMAGES, STRIPS = HERE / 'pictures', results.FOLDER / 'strips'
_load_data = functools.lru_cache(1)(lambda config: data.load(config))  # figures share it
TABLES = synthetic_tables.TABLES | image_tables.TABLES | batch_norm_table.TABLES
OF_NETWORKS = ('fig3', *plans.GALLERIES)  # drawn of networks, not only of scores
PLACES = {'data_dir': 'DATA', 'inception_path': 'INCEPTION'}
# An artifact and its data set; without one, the default data sets of the small scale.
_TABLE = re.compile(r'<!-- tables: (\w+)(?: (\w+))? -->\n')


class Shown(NamedTuple):
    """A rendered artifact."""

    name: str
    command: str
    tables: list[Table]
    images: list[Image]

    def markdown(self, *, embed: bool = False) -> str:
        """Returns the artifact as Markdown, which links to its images or embeds them."""
        parts = [table.markdown() for table in self.tables]
        for name, caption, png in self.images:
            data_uri = f'data:image/png;base64,{base64.b64encode(png).decode()}'
            parts.append(f'![{name}]({data_uri if embed else f"{name}.png"})\n\n{caption}\n')
        return '\n'.join([*parts, f'```\n{self.command}\n```\n'])


def reproduce(config: ReproduceConfig) -> None:
    """Runs the jobs of `config.artifact` and renders the artifacts; or tunes.

    Raises `UserError`; after `FailedRunError` the other runs are completed, and rendered.
    """
    if config.tune:
        tune.tune(config)
        return
    jobs, failures = _todo(config), {}
    if config.dry_run:
        runner.show(jobs)
        return
    if not config.render:
        runner.prepare(config, jobs, pathlib.Path(config.output_dir))
        failures = runner.execute(jobs)
    refused = _render(config)
    runner.raise_failures(failures, jobs)
    if refused:
        raise refused[0]


def results_markdown() -> str:
    """Returns RESULTS.md: its template with the tables of the recorded results."""

    def section(match: re.Match) -> str:
        config, _, scores = _recorded(*match.groups())
        made = TABLES[match[1]](scores)
        return f'{match[0]}\n{Shown(match[1], _command(config, match[1]), made, []).markdown()}'

    return _TABLE.sub(section, TEMPLATE.read_text().replace('{{rule}}', results.RULE))


def _recorded(name: str, dataset: str | None) -> tuple[ReproduceConfig, list[Job], list[Score]]:
    """Returns configuration, jobs and recorded scores of an artifact of RESULTS.md."""
    # No run can be there: everything comes from the records.
    fixed = dict(scale='small', output_dir=os.devnull)
    config = ReproduceConfig(artifact=name, dataset=dataset, **fixed)
    if not set(plans.datasets(config, name)) <= set(VECTORS):
        config = dataclasses.replace(config, feature_layer='mixed_7', **PLACES)
    jobs = plans.plan(config)
    return config, jobs, sum(results.recorded(jobs).values(), [])


def _planned(config: ReproduceConfig) -> Iterator[tuple[str, list[Job], dict[str, list[Score]]]]:
    """Yields each artifact, all its jobs, and the recorded scores to use for jobs, by name."""
    for name in config.artifact.split(','):
        jobs = plans.plan(config.only(name))
        missing = [job for job in jobs if config.use_saved_results and job.commands(missing=True)]
        yield name, jobs, results.recorded(missing)


def _todo(config: ReproduceConfig) -> list[Job]:
    """Returns the planned jobs, with the evaluations whose recorded scores are not used."""
    needed: dict[str, dict[Evaluation, None]] = {}
    for _, jobs, known in _planned(config):
        for job in jobs:
            if job.name not in known:
                needed.setdefault(job.name, {}).update(dict.fromkeys(job.evaluations))
    jobs = [job for job in plans.plan(config) if job.name in needed]
    return [dataclasses.replace(job, evaluations=tuple(needed[job.name])) for job in jobs]


def _render(config: ReproduceConfig) -> list[UserError]:
    """Writes each artifact to OUTPUT_DIR/artifacts; returns why some could not be rendered."""
    output = pathlib.Path(config.output_dir)
    shown, missing, scores, refused, done, drawn = [], [], [], [], [], []
    for name, jobs, known in _planned(config):
        here = [job for job in jobs if job.name not in known and job.digest]
        if not known and not here:
            missing.append(f'{name}: nothing is trained yet')
            continue
        found = sum(known.values(), results.collect(here))
        folder = output / 'artifacts' / f'{name}-{config.scale}'
        folder.mkdir(parents=True, exist_ok=True)
        try:
            shown.append(_show(config, jobs, found, name=name, folder=folder))
        except UserError as error:
            refused.append(error)
            missing.append(f'{name}: {error}')
            continue
        for image in shown[-1].images:
            write_bytes(folder / f'{image.name}.png', image.png)
        text = f'# {plans.ARTIFACTS[name].title}\n\n{shown[-1].markdown()}'
        write_text(folder / f'{name}.md', text)
        print(f'{name}: {folder / name}.md')
        left = [job.name for job in jobs if job.name not in known and job.commands(missing=True)]
        if left:
            listed = ', '.join(left[:3]) + (', ...' if len(left) > 3 else '')
            missing.append(f'{name}: {len(left)} of {len(jobs)} runs missing ({listed})')
        scores += found
        if name in OF_NETWORKS and all(job.digest for job in jobs):
            drawn.append(shown[-1])
        done += [job for job in here if not isinstance(job, Samples)]
    print(*missing, sep='\n', end='\n' if missing else '')
    if config.report and shown:
        write_text(output / 'report.html', _report(config, shown, missing, scores))
        print(f'report: {output / "report.html"}')
    if config.save_results and not refused:
        _save(config, done, drawn)
    return refused


def _save(config: ReproduceConfig, jobs: Sequence[Job], drawn: list[Shown]) -> None:
    """Adds the scores of jobs to the recorded results and writes RESULTS.md with its images.

    The images of `drawn` show networks that were trained here, so no score can make them again.
    """
    with open(TEMPLATE, 'r+') as file:  # one process at a time, from reading to writing
        lock(file, wait=True)
        _save_locked(config, jobs, drawn)


def _save_locked(config: ReproduceConfig, jobs: Sequence[Job], drawn: list[Shown]) -> None:
    results.save(jobs)
    STRIPS.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(config.output_dir) / 'artifacts' / f'methods-{config.scale}' / 'strips'
    for job, _, name in _strips(jobs):
        if _captions(folder / name, job.digest):
            for path in (folder / name, (folder / name).with_suffix('.png')):
                (STRIPS / path.name).write_bytes(path.read_bytes())
    text = results_markdown()
    write_text(RESULTS, text)
    made = [
        _show(*_recorded(name, dataset or None), name=name, folder=pathlib.Path(os.devnull))
        for name, dataset in _TABLE.findall(text)
    ]
    if config.scale == 'small' and not (config.methods or config.seeds or config.training_steps):
        made += drawn
    for image in (image for artifact in made for image in artifact.images):
        write_bytes(IMAGES / f'{image.name}.png', image.png)
    print(f'saved in {results.RECORDED} and {RESULTS}')


def _show(
    config: ReproduceConfig, jobs: list[Job], scores: list[Score], name: str, folder: pathlib.Path
) -> Shown:
    """Renders an artifact; images of networks are drawn once and kept in `folder`."""
    images: Iterable[Image] = ()
    if name in figures.FIGURES:
        images = figures.FIGURES[name](scores)
    elif name == 'fig3':
        images = _latent_spaces(jobs, scores)
    elif name == 'methods':
        images = _method_strips(jobs, scores, folder / 'strips')
    elif name in plans.GALLERIES:
        images = _gallery(name, jobs, folder)
    made = TABLES[name](scores) if name in TABLES else []
    return Shown(name, _command(config, name), made, list(images))


def _command(config: ReproduceConfig, name: str) -> str:
    """Returns the command that makes an artifact, with words in the place of paths."""
    flags = [f'--{k}={v}' for k, v in config.only(name).changed().items()]
    flags += [f'--{place}={word}' for place, word in PLACES.items() if getattr(config, place)]
    return shlex.join(['python', 'bin/reproduce.py', *flags, '--output_dir=OUTPUT'])


def _latent_spaces(jobs: Sequence[Job], scores: Iterable[Score]) -> list[Image]:
    """Draws Fig. 3 of one run of each model, the median by Gen. of its runs in this folder."""
    distances = {s.run: s.value for s in scores if (s.set, s.stem) == ('samples', 'fd')}
    trained: dict[str, list[Job]] = {}
    for job in (job for job in jobs if job.digest):
        trained.setdefault(paper.model_of(job.config.method, job.options), []).append(job)
    views, shown = {}, {}
    for model, runs in trained.items():
        runs.sort(key=lambda job: distances.get(job.name, math.inf))
        median = runs[(len(runs) - 1) // 2]
        views[model] = figures.latent_view(median.workdir.path, median.steps)
        if median.name in distances:
            shown[model] = distances[median.name]
    return [figures.fig3(views, shown)] if views else []


def _gallery(name: str, jobs: Iterable[Job], folder: pathlib.Path) -> Iterator[Image]:
    """Draws the images of a figure of each trained run."""
    for job in (job for job in jobs if job.digest):
        for stem, caption in _draw(name, job, folder / f'{job.name}.json').items():
            caption = f'{caption} ({job.name}, step {job.steps})'
            yield Image(stem, caption, (folder / f'{stem}.png').read_bytes())


def _strips(jobs: Iterable[Job]) -> Iterator[tuple[Job, Evaluation, str]]:
    """Yields the evaluations of trained methods, and the file names of records of their strips."""
    for job in (job for job in jobs if job.steps):
        for e in job.evaluations:
            yield job, e, f'{"+".join(filter(None, (job.name, e.config.density)))}.json'


def _method_strips(
    jobs: Sequence[Job], scores: Iterable[Score], folder: pathlib.Path
) -> Iterator[Image]:
    """Draws the strip of the first run of each data set and row: evaluated here, or recorded."""
    from flexae_tf import image_grid

    checkpoints, found = {score.run: score.checkpoint for score in scores}, {}
    for job, evaluation, name in _strips(jobs):
        key = job.config.dataset, evaluation.method
        if key not in found and job.scores(evaluation):
            _draw('methods', job, folder / name, evaluation.config.density)
            found[key] = (folder / name).with_suffix('.png')
        elif key not in found and _captions(STRIPS / name, checkpoints.get(job.name)):
            found[key] = (STRIPS / name).with_suffix('.png')
    known = list(methods.AUTOENCODERS)
    rows = sorted(found, key=lambda key: known.index(key[1]) if key[1] in known else len(known))
    for dataset in dict.fromkeys(dataset for dataset, _ in rows):
        images = {row: image_grid.read_png(found[d, row]) for d, row in rows if d == dataset}
        yield figures.strips(dataset, images)


def _draw(name: str, job: Job, record: pathlib.Path, density: str | None = None) -> dict[str, str]:
    """Draws images of a checkpoint beside `record`, unless they are there; returns captions."""
    if captions := _captions(record, job.digest):
        return captions
    import_tensorflow()
    from flexae_tf import image_grid
    from flexae_tf.experiments import image_grids

    gallery = _open_gallery(job.workdir.path, job.config, job.digest, density)
    if name == 'methods':
        parts = {record.stem: (image_grids.strip(gallery), '')}
    else:
        drawn = image_grids.GALLERIES[name](gallery).items()
        parts = {f'{part}-{job.name}': image_and_caption for part, image_and_caption in drawn}
    record.parent.mkdir(parents=True, exist_ok=True)
    for stem, (image, _) in parts.items():
        write_bytes(record.with_name(f'{stem}.png'), image_grid.to_png(image))
    captions = {stem: caption for stem, (_, caption) in parts.items()}
    write_json(record, {'checkpoint': job.digest, 'captions': captions})
    return captions


def _captions(record: pathlib.Path, digest: str | None) -> dict[str, str]:
    """Returns captions of drawn images; {} unless all exist and show this checkpoint."""
    try:
        document = read_json(record, {'checkpoint': str | None, 'captions?': {'*': str}})
    except FileNotFoundError:
        return {}
    captions = document.get('captions', {record.stem: ''})  # recorded strips have no captions
    whole = all(record.with_name(f'{stem}.png').exists() for stem in captions)
    return captions if whole and digest and document['checkpoint'] == digest else {}


@functools.lru_cache(maxsize=3)  # one for each data set: figures share the codes
def _open_gallery(workdir: pathlib.Path, config: Any, digest: str, density: str | None) -> Any:
    """Returns the `Gallery` of the last checkpoint of a run; `digest` distinguishes checkpoints."""
    from flexae_tf.densities import densities
    from flexae_tf.experiments import image_grids

    method = densities.load_run(workdir, config.training_steps, density)
    return image_grids.Gallery(method, _load_data(config))


def _report(
    config: ReproduceConfig, shown: list[Shown], missing: list[str], scores: list[Score]
) -> str:
    """Returns the HTML page: one file, with images embedded and without scripts."""
    sections = {plans.ARTIFACTS[one.name].title: one.markdown(embed=True) for one in shown}
    # Protocols of critics differ by checkpoint.
    fields = {s.protocol: s.fields for s in scores if not s.stem.startswith('critic')}
    names = dict.fromkeys(k for f in fields.values() for k, v in f.items() if v is not None)
    rows = [
        (f'`{protocol}`', *('-' if f.get(k) is None else str(f[k]) for k in names))
        for protocol, f in fields.items()
    ]
    found = {'scale': {config.scale}, 'trained on': {s.machine for s in scores}}
    found['scored by code'] = {s.code for s in scores}
    for package in dict.fromkeys(name for s in scores for name in s.environment):
        found[package] = {s.environment[package] for s in scores if package in s.environment}
    environment = (f'- {name}: {", ".join(sorted(values))}' for name, values in found.items())
    deviations = (HERE / 'DEVIATIONS.md').read_text()
    sections |= {
        'Outcomes': results.RULE,
        'Missing': '\n'.join(f'- {line}' for line in missing) or 'Nothing.',
        'Protocols': markdown_table(('protocol', *names), rows) if rows else 'Nothing was scored.',
        'Environment': '\n'.join(environment),
        'Deviations': re.sub(r'^#', '##', deviations.split('\n', 1)[1], flags=re.M),
    }
    return to_html('\n\n'.join(f'## {title}\n\n{text}' for title, text in sections.items()))


def to_html(text: str) -> str:
    """Returns the page of a Markdown text, by the template and the stylesheet."""
    import markdown  # takes time to import, and only reports need it

    parser = markdown.Markdown(extensions=['tables', 'fenced_code', 'toc'])
    body = re.sub(
        r'(<table>.*?</table>)', r'<div class="scroll">\1</div>', parser.convert(text), flags=re.S
    )
    page = (HERE / 'report.template.html').read_text()
    fields = {
        'style': (HERE / 'report.css').read_text(),
        'contents': parser.toc,
        'body': body,
        'rendered': f'{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC',
        'code': escape(code_version()),
    }
    return re.sub(r'\{\{(\w+)\}\}', lambda match: fields[match[1]], page)
