"""The tables and figures of the paper: plans, runs, scores and renders them."""

import pathlib

from flexae_tf import data
from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import FailedRunError, MissingDataError, UsageError
from flexae_tf.experiments import artifacts, execution, records, rendering, runs
from flexae_tf.experiments.records import Record


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
        runs.show(planned)
        return
    failures: dict[str, str] = {}
    if not config.render:
        check_places(config, planned)
        failures = execution.execute(planned)
    found = records.collect(planned, scale=config.scale)
    for name in config.artifact.split(','):
        _render(config, name, found)
    if failures:
        name, reason = next(iter(failures.items()))
        raise FailedRunError(
            f'{len(failures)} of {len(planned)} runs failed, {name}: {reason}; the same command '
            'tries again what failed'
        )


def check_places(config: ReproduceConfig, planned: list[runs.Run]) -> None:
    """Raises at once what would else be known after hours of training."""
    for run in {run.config.dataset: run for run in planned}.values():
        data.describe(run.config)
    for name in ('data_dir', 'inception_path'):
        path = getattr(config, name)
        if path and not pathlib.Path(path).expanduser().exists():
            raise MissingDataError(f'--{name}={path}: there is nothing; check the path')
    try:
        pathlib.Path(config.output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f'--output={config.output} cannot be written ({error.strerror}): give another folder'
        ) from None


def _render(config: ReproduceConfig, name: str, found: list[Record]) -> None:
    """Keeps an artifact's records, and what is made of them, in OUTPUT/artifacts."""
    whole = artifacts.plan(config.only(name))
    own = records.select(found, whole)
    folder = pathlib.Path(config.output) / 'artifacts' / f'{name}-{config.scale}'
    if not own:
        print(f'{name}: nothing is scored yet')
        return
    folder.mkdir(parents=True, exist_ok=True)
    records.write(folder / 'records.jsonl', own)
    command = ['python', 'bin/reproduce.py', f'--artifact={name}', f'--scale={config.scale}']
    for path in rendering.render(name, own, folder, command=command):
        print(f'{name}: {path}')
