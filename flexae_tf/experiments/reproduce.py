"""The tables and figures of the paper: plans, runs, scores and renders them."""

import datetime
import pathlib

from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import FailedRunError
from flexae_tf.experiments import artifacts, estimate, execution, records, rendering, report, runs
from flexae_tf.experiments.layout import Exhibit
from flexae_tf.experiments.records import Record
from flexae_tf.training.workdir import environment, write_text


def reproduce(config: ReproduceConfig) -> None:
    """Executes the runs of `config.artifact`, renders what came of them, and keeps it.

    Raises:
        UsageError: wrong flags, or scores that cannot be compared.
        MissingDataError: `--data_dir` or `--inception_path` leads nowhere.
        FailedRunError: a run failed; the others were executed, and what there is was rendered.
        Stopped: SIGTERM or Ctrl-C was heard.
    """
    planned = artifacts.plan(config)
    if config.list:
        _list(planned)
        return
    failures: dict[str, str] = {}
    if not config.render:
        runs.check_places(config, planned, pathlib.Path(config.output))
        failures = execution.execute(planned)
    _render(config)
    if failures:
        name, reason = next(iter(failures.items()))
        raise FailedRunError(
            f'{len(failures)} of {len(planned)} runs failed, {name}: {reason}; the same command '
            'tries again what failed'
        )


def _list(planned: list[runs.Run]) -> None:
    """Prints what would be run, and what that needs on this machine."""
    needs = estimate.needs(planned)
    runs.show(planned, {name: [f'needs {need}'] for name, need in needs.items()})
    total = estimate.total(needs.values())
    print(f'\nall of it: {total} (estimates from runs in the same --output, or a short trial)')


def _render(config: ReproduceConfig) -> None:
    """Keeps each artifact's records, and what is made of them, in OUTPUT/artifacts."""
    exhibits, missing, all_found = [], [], []
    for name in config.artifact.split(','):
        planned = artifacts.plan(config.only(name))
        if not any(run.digest for run in planned):
            missing.append(f'{name}: nothing is trained yet')
            print(missing[-1])
            continue
        found = records.collect(planned, scale=config.scale)
        folder = pathlib.Path(config.output) / 'artifacts' / f'{name}-{config.scale}'
        folder.mkdir(parents=True, exist_ok=True)
        records.write(folder / 'records.jsonl', found)
        exhibits.append(rendering.exhibit(config, name, found, planned, folder))
        print(f'{name}: {rendering.write(exhibits[-1], folder)}')
        unfinished = [run.name for run in planned if run.missing()]
        if unfinished:
            listed = ', '.join(unfinished[:3]) + (', ...' if len(unfinished) > 3 else '')
            missing.append(f'{name}: {len(unfinished)} of {len(planned)} runs: {listed}')
        all_found += found
    if config.record:
        records.update(records.RECORDED / f'{config.scale}.jsonl', all_found)
        print(f'kept in {records.RECORDED}')
    if config.report and exhibits:
        path = pathlib.Path(config.output) / 'report.html'
        write_text(path, _report(config, exhibits, missing, all_found))
        print(f'report: {path}')


def _report(
    config: ReproduceConfig, exhibits: list[Exhibit], missing: list[str], found: list[Record]
) -> str:
    now = datetime.datetime.now(datetime.UTC)
    here = environment()
    about = {
        'scale': config.scale,
        'rendered': f'{now:%Y-%m-%d %H:%M} UTC',
        'code': here['code'],
        'trained on': ', '.join(sorted({record.machine for record in found})) or 'unknown',
        'scored by code': ', '.join(sorted({record.code for record in found})) or 'unknown',
    }
    # A method's own critic has a protocol for each checkpoint, since it is part of it.
    protocols = {
        record.protocol: record.fields
        for record in found
        if not str(record.fields.get('estimator')).startswith('critic_of_')
    }
    versions = {'Python': here['python'], 'platform': here['platform'], **here['packages']}
    return report.report(
        exhibits,
        about=about,
        protocols=protocols,
        environment={name: str(version) for name, version in versions.items()},
        deviations=report.DEVIATIONS.read_text(),
        missing=missing,
    )
