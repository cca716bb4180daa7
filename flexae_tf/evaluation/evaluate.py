"""The evaluation program: images -> features -> scores in scores.jsonl."""

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from flexae_tf import data
from flexae_tf.config import EvaluateConfig
from flexae_tf.data import memory
from flexae_tf.densities import densities
from flexae_tf.errors import CorruptRunError, MissingDataError, UsageError
from flexae_tf.evaluation import image_sets, references, scoring
from flexae_tf.evaluation.context import Context, prepare
from flexae_tf.evaluation.fakes import evaluate_fakes
from flexae_tf.evaluation.image_sets import ModelId
from flexae_tf.evaluation.recalibration import Comparison, recalibrated
from flexae_tf.evaluation.references import Reference
from flexae_tf.evaluation.score_log import requested_network
from flexae_tf.metrics import table
from flexae_tf.metrics.protocol import raw_protocol
from flexae_tf.metrics.table import SELECTION_METRIC
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run, RunReader, saved_steps
from flexae_tf.training.workdir import Workdir

# First step of the "late" checkpoints as a share of the newest: the authors select among the
# checkpoints of iterations 80000 to 130000.
LATE = 8 / 13


def evaluate(config: EvaluateConfig) -> None:
    """Scores the sets of a run, or images of any generator.

    Reconstructions, samples and as many training examples of a run, or generated images, are each
    compared with the same real examples. Codes of the real examples are compared with codes of the
    prior. Features and scores are stored, so the same command continues an interrupted evaluation
    and prints recorded scores.

    Raises:
        UserError: an error that the user can fix.
        Interrupted: a signal was received.
    """
    for name in config.metric_names():
        table.find(name)
    distribution.prepare_devices(config.device, config.distribution)
    if config.fake:
        evaluate_fakes(config)
    else:
        _evaluate_run(config)
    print(f'peak memory {memory.peak():.1f} GB')


def _evaluate_run(config: EvaluateConfig) -> None:
    started = time.monotonic()

    # 1. The run, its data and the feature network.
    workdir = Workdir(config.workdir)
    _, spec = workdir.read()
    selection = config.checkpoint or ('late' if config.protocol == 'authors' else 'last')
    saved_steps(config.workdir)  # an error before data and network are loaded
    context = prepare(config, workdir, images=spec.kind == 'images')
    run_config, dataset = image_sets.data_of_run(config)

    # 2. The real sides of examples, of pairs and of distances to training images.
    x = image_sets.real_examples(dataset, config.split, config.num_examples)
    if len(x) < 2:
        raise UsageError(
            f'--split={config.split}: {len(x)} example, but at least 2 are needed. Use another '
            '--split, or data with more examples.'
        )
    raw = raw_protocol(run_config, spec, split=config.split, x=x)
    examples = references.example_reference(context, raw, x)
    pairs = references.pair_reference(context, raw, x)
    training = references.training_reference(context, raw, x, dataset.train.x)
    real_sides = {
        'reconstructions': (examples, pairs, training),
        'samples': (examples, training),
        'train': (examples,),
    }
    sets = _sets_with_metrics(config, real_sides)

    # 3. The checkpoint, if validation examples select it.
    selected_by = None
    runs = _open_runs(config, selection)
    if selection == 'best_validation':
        selected_by = selection
        held_out = image_sets.real_examples(dataset, 'validation', config.num_examples)
        protocol = raw_protocol(run_config, spec, split='validation', x=held_out)
        # The flags of statistics and metrics are about the examples of `--split`.
        selecting = dataclasses.replace(
            config,
            metrics='fd',
            write_statistics=None,
            reference_statistics=None,
            allow_unverified_statistics=False,
        )
        validation = references.example_reference(
            dataclasses.replace(context, config=selecting), protocol, held_out
        )
        runs = [_best_run(context, runs, dataset, held_out, validation)]

    # 4. Reconstructions, samples and codes of every checkpoint.
    newest = ModelId()
    distances: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for run in runs:
        if {'samples', 'latents'} & set(sets):
            run = _with_density(context, run, dataset)
        newest = ModelId(run.step, run.digest, run.config.seed, selected_by, run.density)
        comparisons = [
            Comparison(image_set, real_sides[image_set.name])
            for image_set in image_sets.of_run(run, x, newest, config)
            if image_set.name in sets
        ]
        if 'latents' in sets:
            codes = image_sets.codes_of_prior(run, 2 * len(x), newest, config)
            of_codes = references.code_reference(context, run, raw, x)
            comparisons.append(Comparison(codes, [of_codes]))
        if config.recalibrate_batch_norm:
            comparisons += recalibrated(
                run, dataset.train.x, comparisons, config.recalibrate_batch_norm
            )
        for image_set, sides in comparisons:
            values = scoring.score(context, image_set, *sides)
            if SELECTION_METRIC.name in values:
                identity = scoring.identity_of(
                    image_set, examples.protocol, bootstrap=config.bootstrap
                )
                key = image_set.name, image_set.model.batch_norm
                value = {'value': values[SELECTION_METRIC.name]}
                distances.setdefault(key, []).append(identity | value)

    # 5. The minimum over checkpoints, as the authors report it.
    if config.protocol == 'authors' and selection in ('late', 'all'):
        for (_, batch_norm), candidates in distances.items():
            protocol = dataclasses.replace(examples.protocol, batch_norm=batch_norm)
            scoring.record_minimum(context, candidates, protocol, among=selection)

    # 6. Training examples, a practical lower bound.
    if 'train' in sets:
        train = image_sets.train_examples(dataset, len(x), split=config.split, seed=run_config.seed)
        if train:
            scoring.score(context, train, examples)

    context.summaries.update()
    context.log.complete(
        step=newest.step,
        checkpoint=newest.checkpoint,
        network=requested_network(config) if context.network else None,
        seconds=time.monotonic() - started,
    )


def _sets_with_metrics(
    config: EvaluateConfig, real_sides: Mapping[str, Sequence[Reference]]
) -> list[str]:
    """Returns the requested sets that a metric applies to; codes have metrics of their own.

    Raises:
        UsageError: no metric applies to any requested set.
    """
    requested = config.sets.split(',')
    sets = [
        name
        for name in requested
        if name == 'latents' or any(reference.metrics for reference in real_sides[name])
    ]
    if not sets:
        raise UsageError(
            f'--metrics={config.metrics}: none applies to --sets={config.sets}. Choose others.'
        )
    return sets


def _best_run(
    context: Context,
    runs: Iterable[Run],
    dataset: data.Dataset,
    held_out: np.ndarray,
    validation: Reference,
) -> Run:
    """Returns the run at the checkpoint whose samples are nearest to the validation examples.

    Its checkpoint is not read again, because a running training may have removed it since.
    """
    reference = dataclasses.replace(validation, metrics=[SELECTION_METRIC])
    best, smallest, weights, prior = None, math.inf, [], None
    only_samples = dataclasses.replace(context.config, sets='samples', repeats=1)
    for run in runs:
        run = _with_density(context, run, dataset)
        model = ModelId(run.step, run.digest, run.config.seed, None, run.density)
        (samples,) = image_sets.of_run(run, held_out, model, only_samples)
        distance = scoring.score(context, samples, reference)[SELECTION_METRIC.name]
        if distance < smallest:
            best, smallest = run, distance
            weights, prior = run.method.get_weights(), run.method.prior
    # All runs have the same method, at the last checkpoint now.
    best.method.set_weights(weights)
    best.method.prior = prior
    print(f'step {best.step} is best on {len(held_out)} validation examples', flush=True)
    return best


def _candidate_steps(selection: str, steps: list[int]) -> list[int | None]:
    """Returns the checkpoints to score or to select from; None is the newest valid one."""
    if selection == 'late':
        return [step for step in steps if step >= LATE * steps[-1]]
    if selection in ('all', 'best_validation'):
        return list(steps)
    return [None if selection == 'last' else int(selection)]


def _open_runs(config: EvaluateConfig, selection: str) -> Iterator[Run]:
    """Yields the run at each selected checkpoint.

    If several were selected, corrupt checkpoints and those that a running training has removed
    are skipped with a warning. If it has removed all of them, its newer ones are yielded.
    """
    strategy = distribution.choose_strategy(config.distribution)
    reader, tried = RunReader(config.workdir, strategy), []
    while steps := _candidate_steps(selection, saved_steps(config.workdir)):
        if set(steps) <= set(tried):
            raise CorruptRunError(
                f'{config.workdir}: no requested checkpoint is valid. Train the run again.'
            )
        found = False
        for step in steps:
            try:
                run = reader.open('last' if step is None else step)
            except (CorruptRunError, MissingDataError) as error:
                if len(steps) == 1:
                    raise
                print(f'WARNING: skipped: {error}', flush=True)
                continue
            found = True
            yield run
        if found:
            return
        tried += steps


def _with_density(context: Context, run: Run, dataset: data.Dataset) -> Run:
    """Returns the run sampling from the requested density, fitted only with `--fit_missing`."""
    density = context.config.density
    if context.config.fit_missing:
        return densities.fit(run, density, dataset)
    return densities.attach(run, density)
