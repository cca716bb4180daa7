"""The evaluation program: images -> features -> scores in scores.jsonl."""

import dataclasses
import functools
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from flexae_tf import data
from flexae_tf.config import EvaluateConfig
from flexae_tf.data import fingerprint
from flexae_tf.densities import densities
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.evaluation import image_sets, references, scoring
from flexae_tf.evaluation.context import Context, prepare
from flexae_tf.evaluation.image_sets import ImageSet, ModelId
from flexae_tf.evaluation.references import Reference
from flexae_tf.metrics import table
from flexae_tf.metrics.protocol import Protocol, raw_protocol
from flexae_tf.metrics.table import SELECTION_METRIC, Metric
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run, open_run, saved_steps
from flexae_tf.training.shutdown import GracefulShutdown
from flexae_tf.training.workdir import Workdir

# First step of the "late" checkpoints as a share of the newest: the authors select among the
# checkpoints of iterations 80000 to 130000.
LATE = 8 / 13


def evaluate(config: EvaluateConfig) -> None:
    """Scores a run, or two sets of images.

    Reconstructions, samples and as many training examples are each compared with the same real
    examples. Codes of the real examples are compared with codes of the prior. Features and scores
    are stored, so the same command continues an interrupted evaluation and prints recorded scores.

    Raises:
        UserError: an error that the user can fix.
        Interrupted: SIGTERM or Ctrl-C was received.
    """
    for name in _metric_names(config):
        table.find(name)
    print(distribution.choose_devices(config.device), flush=True)
    with GracefulShutdown() as shutdown:
        check_interrupt = functools.partial(shutdown.check, 'between batches')
        if config.workdir:
            _evaluate_run(config, check_interrupt)
        else:
            _evaluate_files(config, check_interrupt)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f'peak memory {peak:.1f} GB')


def _evaluate_run(config: EvaluateConfig, check_interrupt: Callable[[], None]) -> None:
    started = time.monotonic()

    # 1. The run, its data and the feature network.
    workdir = Workdir(config.workdir)
    run_config, spec = workdir.read()
    if config.data_dir:
        run_config = dataclasses.replace(run_config, data_dir=config.data_dir)
    selection = config.checkpoint or ('late' if config.protocol == 'authors' else 'last')
    steps = _candidate_steps(selection, saved_steps(config.workdir))
    context = prepare(config, workdir, check_interrupt, images=spec.kind == 'images')
    dataset = data.load(run_config)
    workdir.check_examples(dataset)

    # 2. The real side.
    x = image_sets.real_examples(dataset, config.split, config.num_examples)
    metrics = _metrics(context, len(x))
    raw = raw_protocol(run_config, spec, split=config.split, x=x)
    reference = references.with_statistics(context, references.image_reference(context, raw, x))

    # 3. The checkpoint, if validation examples select it.
    selected_by = None
    if selection == 'best_validation':
        selected_by = selection
        held_out = image_sets.real_examples(dataset, 'validation', config.num_examples)
        protocol = raw_protocol(run_config, spec, split='validation', x=held_out)
        validation = references.image_reference(context, protocol, held_out)
        steps = [_best_step(context, steps, dataset, held_out, validation)]

    # 4. Reconstructions, samples and codes of every checkpoint.
    newest = ModelId()
    distances: dict[str, list[dict[str, Any]]] = {'reconstructions': [], 'samples': []}
    for run in _open_runs(config, steps):
        if {'samples', 'latents'} & set(_sets(config)):
            run = _with_density(context, run, dataset)
        newest = ModelId(run.step, run.digest, run.config.seed, selected_by, run.density)
        for image_set in image_sets.of_run(run, x, newest, config, check_interrupt):
            values = scoring.score(context, image_set, reference, metrics)
            if SELECTION_METRIC.name in values:
                identity = scoring.identity_of(
                    image_set, reference.protocol, bootstrap=config.bootstrap
                )
                value = {'value': values[SELECTION_METRIC.name]}
                distances[image_set.name].append(identity | value)
        if 'latents' in _sets(config):
            codes = image_sets.codes_of_prior(run, 2 * len(x), newest, config)
            code_metrics = table.select_of_codes(
                _metric_names(config), has_critic=run.method.has_critic
            )
            scoring.score(
                context, codes, references.code_reference(context, run, raw, x), code_metrics
            )

    # 5. The minimum over checkpoints, as the authors report it.
    if config.protocol == 'authors' and selection in ('late', 'all'):
        for candidates in filter(None, distances.values()):
            scoring.record_minimum(context, candidates, reference.protocol, among=selection)

    # 6. Training examples, a practical lower bound.
    if 'train' in _sets(config):
        train = image_sets.train_examples(dataset, len(x), split=config.split, seed=run_config.seed)
        if train:
            scoring.score(context, train, reference, metrics)

    context.log.complete(
        step=newest.step, checkpoint=newest.checkpoint, seconds=time.monotonic() - started
    )


def _evaluate_files(config: EvaluateConfig, check_interrupt: Callable[[], None]) -> None:
    real, fake, others = image_sets.from_files(config)
    context = prepare(config, None, check_interrupt, images=True)
    if not context.network and real.shape[1:] != fake.shape[1:]:
        raise UsageError(
            f'--real={config.real}: images {real.shape[1:]}, but {fake.shape[1:]} in '
            f'--fake={config.fake}. Make the shapes equal or use --features=inception.'
        )
    metrics = _metrics(context, len(real))
    raw = Protocol(dataset='folder', split='all', num=len(real), data=fingerprint(real))
    reference = references.with_statistics(context, references.image_reference(context, raw, real))
    model = ModelId(checkpoint=fingerprint(fake))
    scoring.score(context, ImageSet('fake', 'images', model, lambda _: fake), reference, metrics)
    if others is not None:
        further = ImageSet('real', 'further real images', ModelId(), lambda _: others)
        scoring.score(context, further, reference, metrics)


def _best_step(
    context: Context,
    steps: Sequence[int],
    dataset: data.Dataset,
    held_out: np.ndarray,
    reference: Reference,
) -> int:
    """Returns the checkpoint whose samples are nearest to the validation examples."""
    distances = {}
    only_samples = dataclasses.replace(context.config, sets='samples', repeats=1)
    for run in _open_runs(context.config, steps):
        run = _with_density(context, run, dataset)
        model = ModelId(run.step, run.digest, run.config.seed, None, run.density)
        (samples,) = image_sets.of_run(run, held_out, model, only_samples, context.check_interrupt)
        values = scoring.score(context, samples, reference, [SELECTION_METRIC])
        distances[run.step] = values[SELECTION_METRIC.name]
    best = min(distances, key=distances.__getitem__)
    print(f'step {best} is best on {len(held_out)} validation examples', flush=True)
    return best


def _candidate_steps(selection: str, steps: list[int]) -> list[int | None]:
    """Returns the checkpoints to score or to select from; None is the newest valid one."""
    if selection == 'late':
        return [step for step in steps if step >= LATE * steps[-1]]
    if selection in ('all', 'best_validation'):
        return list(steps)
    return [None if selection == 'last' else int(selection)]


def _open_runs(config: EvaluateConfig, steps: Sequence[int | None]) -> Iterator[Run]:
    """Yields the run at each checkpoint.

    If several were requested, corrupt checkpoints and those that a running training has removed
    are skipped with a warning.
    """
    found = False
    for step in steps:
        try:
            run = open_run(config.workdir, 'last' if step is None else step)
        except (CorruptRunError, MissingDataError) as error:
            if len(steps) == 1:
                raise
            print(f'WARNING: skipped: {error}', flush=True)
            continue
        found = True
        yield run
    if not found:
        raise CorruptRunError(
            f'{config.workdir}: no requested checkpoint is valid. Train the run again.'
        )


def _with_density(context: Context, run: Run, dataset: data.Dataset) -> Run:
    """Returns the run sampling from the requested density, fitted only with `--fit_missing`."""
    density = context.config.density
    if context.config.fit_missing:
        return densities.fit(run, density, dataset, check_interrupt=context.check_interrupt)
    return densities.attach(run, density)


def _metrics(context: Context, num: int) -> list[Metric]:
    """Returns the metrics to apply to sets of `num` examples."""
    names, config = _metric_names(context.config), context.config
    if not names and config.protocol == 'authors':
        names = [SELECTION_METRIC.name]
    return table.select(
        names,
        num=num,
        has_logits=context.network is not None and context.network.is_tfgan,
        moments=config.reference_statistics is not None,
    )


def _metric_names(config: EvaluateConfig) -> list[str]:
    return config.metrics.split(',') if config.metrics else []


def _sets(config: EvaluateConfig) -> list[str]:
    return config.sets.split(',')
