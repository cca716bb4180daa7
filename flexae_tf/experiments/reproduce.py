"""The tables and figures of the paper: plans, runs, scores and renders them."""

import dataclasses
import datetime
import itertools
import pathlib

from flexae_tf.config import ReproduceConfig
from flexae_tf.environment import code_version
from flexae_tf.errors import FailedRunError, UserError
from flexae_tf.experiments import artifacts, estimate, execution, records, runs
from flexae_tf.experiments.exhibits import readme, rendering, report, strips
from flexae_tf.experiments.exhibits.layout import Exhibit
from flexae_tf.experiments.records import Record
from flexae_tf.files import write_bytes, write_text


def reproduce(config: ReproduceConfig) -> None:
    """Executes the runs of `config.artifact`, renders what came of them, and keeps it.

    Raises:
        UsageError: wrong flags, or scores that cannot be compared.
        MissingDataError: `--data_dir` or `--inception_path` leads nowhere.
        FailedRunError: a run failed; the others were executed, and what there is was rendered.
        Interrupted: SIGTERM or Ctrl-C was heard.
    """
    planned = _todo(config)
    if config.dry_run:
        _list(planned)
        return
    failures: dict[str, str] = {}
    if not config.render:
        runs.check_places(config, planned, pathlib.Path(config.output_dir))
        failures = execution.execute(planned)
    refused = _render(config)
    if failures:
        name, reason = next(iter(failures.items()))
        raise FailedRunError(
            f'{len(failures)} of {len(planned)} runs failed, {name}: {reason}; the same command '
            'tries again what failed'
        )
    if refused:
        raise refused[0]


def _todo(config: ReproduceConfig) -> list[runs.Run]:
    """The planned runs, with `config.use_saved_results` those that some artifact lacks records of.

    Figures that are drawn of networks have no records.
    """
    planned = artifacts.plan(config)
    if not config.use_saved_results:
        return planned
    scorings: dict[str, dict[tuple[str, ...], None]] = {}
    for name in config.artifact.split(','):
        of_artifact = artifacts.plan(config.only(name))
        known = _known(config, of_artifact)
        for run in of_artifact:
            if run.name not in known:
                scorings.setdefault(run.name, {}).update(dict.fromkeys(run.scorings))
    return [
        dataclasses.replace(run, scorings=tuple(scorings[run.name]))
        for run in planned
        if run.name in scorings
    ]


def _known(config: ReproduceConfig, planned: list[runs.Run]) -> dict[str, list[Record]]:
    """Of runs that are not finished here, by name, the records to take for them."""
    if not config.use_saved_results:
        return {}
    return records.recorded(run for run in planned if run.missing())


def _list(planned: list[runs.Run]) -> None:
    """Prints what would be run, and what that needs on this machine."""
    needs = estimate.needs(planned)
    runs.show(planned, {name: [f'needs {need}'] for name, need in needs.items()})
    total = estimate.total(needs.values())
    print(
        f'\nall of it: {total} (estimates from runs in the same --output, or a short trial; '
        'densities that are trained come on top)'
    )


def _render(config: ReproduceConfig) -> list[UserError]:
    """Keeps each artifact's records, and what is made of them, in OUTPUT_DIR/artifacts.

    Returns:
        why artifacts could not be rendered; the others are, but nothing is recorded then.
    """
    exhibits, missing, all_found, fresh, refused = [], [], [], [], []
    for name in config.artifact.split(','):
        planned = artifacts.plan(config.only(name))
        known = _known(config, planned)
        if not known and not any(run.digest for run in planned):
            missing.append(f'{name}: nothing is trained yet')
            print(missing[-1])
            continue
        found = records.collect(run for run in planned if run.name not in known)
        fresh += found
        found += itertools.chain.from_iterable(known.values())
        folder = rendering.folder_of(config, name)
        folder.mkdir(parents=True, exist_ok=True)
        records.write(folder / 'records.jsonl', found)
        try:
            exhibits.append(rendering.exhibit(config, name, found, planned, folder))
        except UserError as error:
            refused.append(error)
            missing.append(f'{name}: {error}')
            print(missing[-1])
            continue
        print(f'{name}: {rendering.write(exhibits[-1], folder)}')
        unfinished = [run.name for run in planned if run.name not in known and run.missing()]
        if unfinished:
            listed = ', '.join(unfinished[:3]) + (', ...' if len(unfinished) > 3 else '')
            missing.append(f'{name}: {len(unfinished)} of {len(planned)} runs: {listed}')
        all_found += found
    if config.report and exhibits:
        path = pathlib.Path(config.output_dir) / 'report.html'
        write_text(path, _report(config, exhibits, missing, all_found))
        print(f'report: {path}')
    elif config.report:
        print('report: none, since there is nothing to show yet')
    if config.save_results and not refused:
        _record(config, fresh, exhibits)
    return refused


def _record(config: ReproduceConfig, fresh: list[Record], exhibits: list[Exhibit]) -> None:
    """Keeps the scores of what was run here, and fills the README from all there are.

    Raises:
        UsageError: then the README's tables could not be made; nothing is kept.
    """
    known = records.merge(records.read(records.RECORDED), fresh)
    path = runs.ROOT / 'README.md'
    text = readme.fill(path.read_text(), known) if path.is_file() else None
    records.FOLDER.mkdir(exist_ok=True)
    records.write(records.RECORDED, known)
    for name in config.artifact.split(','):
        if name == 'methods':
            recorded = {record.run for record in fresh}
            here = [run for run in artifacts.plan(config.only(name)) if run.name in recorded]
            folder = rendering.folder_of(config, name) / rendering.STRIPS
            strips.keep(strips.draw(here, folder).values())
    if text is not None:
        write_text(path, text)
        drawn_here = (e.pictures for e in exhibits if e.name == 'fig3' and _is_readmes(config))
        for picture in itertools.chain(readme.pictures(text), *drawn_here):
            write_bytes(readme.PICTURES / f'{picture.name}.png', picture.png)
    print(f'kept in {records.RECORDED}')


def _is_readmes(config: ReproduceConfig) -> bool:
    """Whether all that Fig. 3 of the README is drawn of is trained here, and nothing else."""
    here = artifacts.plan(config.only('fig3'))
    names = [run.name for run in artifacts.plan(readme.plan_of('fig3'))]
    return [run.name for run in here if run.digest] == names


def _report(
    config: ReproduceConfig,
    exhibits: list[Exhibit],
    missing: list[str],
    found: list[Record],
) -> str:
    now = datetime.datetime.now(datetime.UTC)
    about = {
        'scale': config.scale,
        'rendered': f'{now:%Y-%m-%d %H:%M} UTC by code {code_version()}',
        'trained on': ', '.join(sorted({record.machine for record in found})) or 'unknown',
        'scored by code': ', '.join(sorted({record.code for record in found})) or 'unknown',
    }
    # A method's own critic has a protocol for each checkpoint, since it is part of it.
    protocols = {
        record.protocol: record.fields
        for record in found
        if not str(record.fields.get('estimator')).startswith('critic_of_')
    }
    return report.report(
        exhibits,
        about=about,
        protocols=protocols,
        environment=records.environments(found),
        deviations=report.DEVIATIONS.read_text(),
        missing=missing,
    )
