"""Program that plans, runs and renders the tables and figures of the paper.

| mode | flags | effect |
|---|---|---|
| plan | `--artifact=NAMES --dry_run` | prints state, commands, time and disk of the runs |
| run | `--artifact=NAMES` | trains, fits and evaluates what is missing, then renders |
| render | `--artifact=NAMES --render` | renders what is finished; runs nothing |
| report | `... --report` | also writes OUTPUT_DIR/report.html |
| save | `... --save_results` | also adds the scores to the recorded ones and rewrites RESULTS.md |
| reuse | `... --use_saved_results` | takes recorded scores of equal runs and runs only the others |
| share | `... --shard=2/8` | runs the second eighth of the runs |
| tune | `--tune=METHOD --dataset=NAME` | chooses an open weight on validation examples |

All modes take `--methods`, `--seeds`, `--dataset` and `--scale`.
"""

import base64
import dataclasses
import datetime
import functools
import json
import pathlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from flexae_tf import data
from flexae_tf.config import ReproduceConfig
from flexae_tf.environment import code_version, import_tensorflow
from flexae_tf.errors import UserError
from flexae_tf.experiments import figures, plans, results, runner, tables, tune
from flexae_tf.experiments.figures import Image
from flexae_tf.experiments.plans import Job
from flexae_tf.experiments.results import Score
from flexae_tf.experiments.tables import Table
from flexae_tf.files import write_bytes, write_json, write_text

HERE = pathlib.Path(__file__).parent  # package data lies beside this module
RESULTS, TEMPLATE = HERE / 'RESULTS.md', HERE / 'RESULTS.template'
IMAGES, STRIPS = HERE / 'pictures', results.FOLDER / 'strips'
PLACES = {'data_dir': 'DATA', 'inception_path': 'INCEPTION'}
_TABLE = re.compile(r'<!-- tables: (\w+) -->\n')


class Shown(NamedTuple):
    """A rendered artifact."""

    name: str
    command: str
    tables: list[Table]
    images: list[Image]

    def markdown(self, link: Mapping[str, str]) -> str:
        """Returns the artifact as Markdown; `link` has the address of each image."""
        parts = [table.markdown() for table in self.tables]
        parts += [f'![{p.name}]({link[p.name]})\n\n{p.caption}\n' for p in self.images]
        return '\n'.join([*parts, f'```\n{self.command}\n```\n'])


def reproduce(config: ReproduceConfig) -> None:
    """Runs the jobs of `config.artifact` and renders the artifacts.

    Raises:
        UsageError: invalid flags, or scores that are not comparable.
        MissingDataError: `--data_dir` or `--inception_path` does not exist.
        FailedRunError: a run failed; the others were completed, and what exists was rendered.
        Interrupted: after SIGTERM or Ctrl-C.
    """
    if config.tune:
        tune.tune(config)
        return
    jobs = _todo(config)
    if config.dry_run:
        runner.show(jobs)
        return
    failures: dict[str, str] = {}
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
        config, _, scores = _recorded(match[1])
        made = '\n'.join(table.markdown() for table in tables.TABLES[match[1]](scores))
        return f'{match[0]}\n{made}\n```\n{_command(config, match[1])}\n```\n'

    text = TEMPLATE.read_text().replace('{{rule}}', results.RULE)
    return _TABLE.sub(section, text.replace('{{modes}}', __doc__.split('\n\n')[1]))


def _recorded(name: str) -> tuple[ReproduceConfig, list[Job], list[Score]]:
    """Returns configuration, jobs and recorded scores of an artifact of RESULTS.md."""
    config = ReproduceConfig(artifact=name, scale='small', output_dir='OUTPUT')
    if not set(plans.datasets(config, name)) <= set(plans.VECTORS):
        config = dataclasses.replace(config, feature_layer='mixed_7', **PLACES)
    jobs = plans.plan(config)
    return config, jobs, [s for of_run in results.recorded(jobs).values() for s in of_run]


def _todo(config: ReproduceConfig) -> list[Job]:
    """Returns the planned jobs, without recorded ones with `use_saved_results`."""
    jobs = plans.plan(config)
    if not config.use_saved_results:
        return jobs
    needed: dict[str, dict[plans.Evaluation, None]] = {}
    for name in config.artifact.split(','):
        own = plans.plan(config.only(name))
        known = results.recorded(job for job in own if job.commands(missing=True))
        for job in own:
            if job.name not in known:
                needed.setdefault(job.name, {}).update(dict.fromkeys(job.evaluations))
    return [
        dataclasses.replace(job, evaluations=tuple(needed[job.name]))
        for job in jobs
        if job.name in needed
    ]


def _render(config: ReproduceConfig) -> list[UserError]:
    """Writes each artifact to OUTPUT_DIR/artifacts; returns why some could not be rendered."""
    output = pathlib.Path(config.output_dir)
    shown, missing, scores, refused, done = [], [], [], [], []
    for name in config.artifact.split(','):
        jobs = plans.plan(config.only(name))
        known = {}
        if config.use_saved_results:
            known = results.recorded(job for job in jobs if job.commands(missing=True))
        here = [job for job in jobs if job.name not in known and job.digest]
        if not known and not here:
            missing.append(f'{name}: nothing is trained yet')
            print(missing[-1])
            continue
        found = results.collect(here) + [s for of_run in known.values() for s in of_run]
        folder = output / 'artifacts' / f'{name}-{config.scale}'
        folder.mkdir(parents=True, exist_ok=True)
        try:
            artifact = _show(config, jobs, found, name=name, folder=folder)
        except UserError as error:
            refused.append(error)
            missing.append(f'{name}: {error}')
            print(missing[-1])
            continue
        for image in artifact.images:
            write_bytes(folder / f'{image.name}.png', image.png)
        text = artifact.markdown({p.name: f'{p.name}.png' for p in artifact.images})
        write_text(folder / f'{name}.md', f'# {plans.ARTIFACTS[name].title}\n\n{text}')
        print(f'{name}: {folder / name}.md')
        left = [job.name for job in jobs if job.name not in known and job.commands(missing=True)]
        if left:
            listed = ', '.join(left[:3]) + (', ...' if len(left) > 3 else '')
            missing.append(f'{name}: {len(left)} of {len(jobs)} runs missing ({listed})')
        shown.append(artifact)
        scores += found
        done += here
    if config.report and shown:
        write_text(output / 'report.html', _report(config, shown, missing, scores))
        print(f'report: {output / "report.html"}')
    if config.save_results and not refused:
        _save(config, done, shown)
    return refused


def _save(config: ReproduceConfig, jobs: Iterable[Job], shown: Iterable[Shown]) -> None:
    """Adds the scores of jobs to the recorded results and writes RESULTS.md with its images."""
    jobs = list(jobs)
    results.save(jobs)
    if 'methods' in config.artifact.split(','):
        folder = pathlib.Path(config.output_dir) / 'artifacts' / f'methods-{config.scale}'
        for path in _strips(jobs, folder / 'strips').values():
            STRIPS.mkdir(parents=True, exist_ok=True)
            for part in (path, path.with_suffix('.json')):
                (STRIPS / part.name).write_bytes(part.read_bytes())
    text = results_markdown()
    write_text(RESULTS, text)
    made = [
        _show(*_recorded(n), name=n, folder=pathlib.Path('OUTPUT')) for n in _TABLE.findall(text)
    ]
    whole = not (config.methods or config.seeds or config.training_steps)
    made += [one for one in shown if one.name == 'fig3' and whole]  # drawn of networks, not scores
    for image in (image for one in made for image in one.images):
        write_bytes(IMAGES / f'{image.name}.png', image.png)
    print(f'saved in {results.RECORDED} and {RESULTS}')


def _show(
    config: ReproduceConfig,
    jobs: Sequence[Job],
    scores: Sequence[Score],
    *,
    name: str,
    folder: pathlib.Path,
) -> Shown:
    """Renders an artifact; images of networks are drawn once and kept in `folder`."""
    images: list[Image] = []
    if name in figures.FIGURES:
        images += figures.FIGURES[name](scores)
    elif name == 'fig3':
        images += _latent_spaces(jobs, scores)
    elif name == 'methods':
        images += _method_strips(jobs, scores, folder)
    elif name not in tables.TABLES:
        images += _gallery(name, jobs, folder)
    made = tables.TABLES[name](scores) if name in tables.TABLES else []
    return Shown(name, _command(config, name), made, images)


def _command(config: ReproduceConfig, name: str) -> str:
    """Returns the command that makes an artifact, with words in the place of paths."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    options = config.only(name).identity().items()
    flags = [f'--{k}={v}' for k, v in options if v != defaults[k]]
    flags += [f'--{place}={word}' for place, word in PLACES.items() if getattr(config, place)]
    return shlex.join(['python', 'bin/reproduce.py', *flags, '--output_dir=OUTPUT'])


# Images of trained networks -------------------------------------------------------------------


def _latent_spaces(jobs: Iterable[Job], scores: Iterable[Score]) -> list[Image]:
    """Draws Fig. 3 of the first trained run of each model."""
    distances = {s.run: s.value for s in scores if (s.set, s.stem) == ('samples', 'fd')}
    views, shown = {}, {}
    for job in jobs:
        mixture = f'-{job.config.mixture}' if job.config.mixture else ''
        name = f'{job.config.method}{mixture}'
        if name not in views and job.digest:
            views[name] = figures.latent_view(job.workdir.path, job.steps)
            if job.name in distances:
                shown[name] = distances[job.name]
    return [figures.fig3(views, shown)] if views else []


def _method_strips(
    jobs: Iterable[Job], scores: Iterable[Score], folder: pathlib.Path
) -> list[Image]:
    """Draws the strips of the runs whose scores are shown: trained here, or recorded."""
    from flexae_tf import image_grid  # imports TensorFlow

    checkpoints = {score.run: score.checkpoint for score in scores}
    jobs, found = list(jobs), {}
    drawn = _strips([job for job in jobs if job.digest], folder / 'strips')
    for job, evaluation in _evaluations(jobs):
        key, digest = (job.config.dataset, evaluation.method), checkpoints.get(job.name)
        path = drawn.get(key, STRIPS / _strip_name(job, evaluation))
        if digest and _captions(path, digest) is not None:
            found.setdefault(key, path)
    order = {row: i for i, row in enumerate(plans.methods.AUTOENCODERS)}
    rows = sorted(found, key=lambda key: order.get(key[1], len(order)))
    return [
        figures.strips(d, {row: image_grid.read_png(found[d, row]) for e, row in rows if e == d})
        for d in dict.fromkeys(dataset for dataset, _ in rows)
    ]


def _evaluations(jobs: Iterable[Job]) -> Iterator[tuple[Job, plans.Evaluation]]:
    """Yields the evaluations of trained methods; untrained ones have no strips."""
    return ((job, e) for job in jobs if job.steps for e in job.evaluations)


def _strip_name(job: Job, evaluation: plans.Evaluation) -> str:
    density = evaluation.config.density
    return f'{job.name}+{density}.png' if density else f'{job.name}.png'


def _strips(jobs: Iterable[Job], folder: pathlib.Path) -> dict[tuple[str, str], pathlib.Path]:
    """Draws the strip of the first evaluated run of each data set and row; returns their paths."""
    found: dict[tuple[str, str], pathlib.Path] = {}
    for job, evaluation in _evaluations(jobs):
        key = job.config.dataset, evaluation.method
        if key not in found and job.scores(evaluation):
            found[key] = folder / _strip_name(job, evaluation)
            if _captions(found[key], job.digest) is None:
                import_tensorflow()
                from flexae_tf.experiments.image_grids import strip

                image = strip(open_gallery(job, evaluation.config.density))
                _keep(found[key], job.digest, {found[key]: image}, {})
    return found


def _gallery(name: str, jobs: Iterable[Job], folder: pathlib.Path) -> list[Image]:
    """Draws the images of a figure of each trained run, or takes those that were drawn."""
    found = []
    for job in (job for job in jobs if job.digest):
        kept = folder / f'{job.name}.json'
        captions = _captions(kept, job.digest)
        paths = {part: folder / f'{part}-{job.name}.png' for part in captions or {}}
        if not paths or not all(path.exists() for path in paths.values()):
            import_tensorflow()
            from flexae_tf.experiments import image_grids

            drawn = image_grids.GALLERIES[name](open_gallery(job))
            captions = image_grids.captions(drawn, data.describe(job.config))
            paths = {part: folder / f'{part}-{job.name}.png' for part in drawn}
            images = {path: drawn[part] for part, path in paths.items()}
            _keep(kept, job.digest, images, captions)
        for part, path in paths.items():
            caption = f'{captions[part]} ({job.name}, step {job.steps})'
            found.append(Image(path.stem, caption, path.read_bytes()))
    return found


def _keep(
    path: pathlib.Path,
    digest: str,
    images: Mapping[pathlib.Path, np.ndarray],
    captions: Mapping[str, str],
) -> None:
    """Writes images, and beside `path` their captions and the checkpoint that they show."""
    from flexae_tf import image_grid

    path.parent.mkdir(parents=True, exist_ok=True)
    for file, image in images.items():
        write_bytes(file, image_grid.to_png(image))
    document = {'checkpoint': digest} | ({'captions': captions} if captions else {})
    write_json(path.with_suffix('.json'), document)


def _captions(path: pathlib.Path, digest: str) -> dict[str, str] | None:
    """Returns the captions of drawn images; None unless they show this checkpoint."""
    try:
        document = json.loads(path.with_suffix('.json').read_text())
    except OSError:
        return None
    return document.get('captions', {}) if document['checkpoint'] == digest else None


def open_gallery(job: Job, density: str | None = None) -> Any:
    """Returns the `Gallery` of the last checkpoint of a job."""
    return _open_gallery(job.workdir.path, job.config, job.digest, density)


@functools.lru_cache(maxsize=3)  # one for each data set: figures share the codes
def _open_gallery(workdir: pathlib.Path, config: Any, digest: str, density: str | None) -> Any:
    import_tensorflow()
    from flexae_tf.densities import densities
    from flexae_tf.experiments import image_grids

    del digest  # another checkpoint is another gallery
    method = densities.load_run(workdir, config.training_steps, density)
    return image_grids.Gallery(method, _dataset(config))


@functools.lru_cache(maxsize=1)
def _dataset(config: Any) -> Any:
    return data.load(config)


# The HTML report ----------------------------------------------------------------------------------


def _report(
    config: ReproduceConfig, shown: Iterable[Shown], missing: Iterable[str], scores: Iterable[Score]
) -> str:
    """Returns the HTML page: one file, with images embedded and without scripts."""
    scores, missing = list(scores), list(missing)
    sections = {}
    for artifact in shown:
        uris = {
            p.name: f'data:image/png;base64,{base64.b64encode(p.png).decode()}'
            for p in artifact.images
        }
        sections[plans.ARTIFACTS[artifact.name].title] = artifact.markdown(uris)
    sections['Outcomes'] = results.RULE
    sections['Missing'] = '\n'.join(f'- {line}' for line in missing) or 'Nothing.'
    sections['Protocols'] = _protocols(scores)
    sections['Environment'] = _environment(config, scores)
    deviations = (HERE / 'DEVIATIONS.md').read_text()
    sections['Deviations'] = re.sub(r'^#', '##', deviations.split('\n', 1)[1], flags=re.M)
    body = '\n\n'.join(f'## {title}\n\n{text}' for title, text in sections.items())
    return to_html(body)


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


def _protocols(scores: Iterable[Score]) -> str:
    """Returns the fields of each protocol, except of critics, which differ by checkpoint."""
    fields = {s.protocol: s.fields for s in scores if not s.stem.startswith('critic')}
    names = dict.fromkeys(k for f in fields.values() for k, v in f.items() if v is not None)
    rows = [
        (f'`{protocol}`', *('-' if f.get(k) is None else str(f[k]) for k in names))
        for protocol, f in fields.items()
    ]
    return tables.grid(('protocol', *names), rows) if rows else 'Nothing was scored.'


def _environment(config: ReproduceConfig, scores: Iterable[Score]) -> str:
    """Returns scale, machines and versions; all of them if they differ."""
    found: dict[str, set[str]] = {'scale': {config.scale}}
    for score in scores:
        found.setdefault('trained on', set()).add(score.machine)
        found.setdefault('scored by code', set()).add(score.code)
        for name, version in score.environment.items():
            found.setdefault(name, set()).add(version)
    return '\n'.join(f'- {name}: {", ".join(sorted(values))}' for name, values in found.items())
