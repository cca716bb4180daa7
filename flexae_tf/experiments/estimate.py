"""What runs will need of time and disk on this machine, from what was measured here.

The pace of a run is that of runs of its method on its data set at its scale in the same output
folder; else that of another method there, times what the two cost beside each other where both were
timed (`recorded/cost.json`, of `bin/benchmark.py --subject=methods`, which also has the sizes of
checkpoints); else that of the plain auto-encoder, which is timed now. Scoring of images takes what
it took for a run alike, or for another one on the data set; else as long as the network takes for
the images, which is timed now where it is on this machine. Densities that are trained come on top.
Expect a factor of two.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from flexae_tf import data
from flexae_tf.config import STAGES, TrainConfig
from flexae_tf.config.names import STAGED
from flexae_tf.errors import FailedRunError
from flexae_tf.experiments import runs
from flexae_tf.experiments.durations import duration
from flexae_tf.experiments.records import FOLDER, pace
from flexae_tf.experiments.runs import Run
from flexae_tf.networks.architectures import find_architecture, perceptron_parameters, resolve

PROBED = 'ae_gmm'  # nothing but encoder and decoder
# Of each image; the logits beside pool_3 included.
FEATURES = {'pool_3': 2048 + 1008, 'mixed_7': 768, 'mixed_8': 1280}
# Seconds of a scoring, seen on two cores: before its first checkpoint, and of one that has vectors.
START, OF_VECTORS = 10.0, 1.5
FLOAT = 4  # bytes
COST = FOLDER / 'cost.json'


class Kind(NamedTuple):
    """Runs that take as long as each other, nearly."""

    method: str
    dataset: str
    width: float

    def other(self, method: str) -> 'Kind':
        """The same of another method."""
        return self._replace(method=method)


class Need(NamedTuple):
    """What a run still needs.

    Attributes:
        train_seconds: of training.
        score_seconds: of scoring; None where nobody knows.
        disk_bytes: of checkpoints, features and densities that are not there yet.
    """

    train_seconds: float
    score_seconds: float | None
    disk_bytes: int

    def __str__(self) -> str:
        scoring = '?' if self.score_seconds is None else duration(self.score_seconds)
        return (
            f'{duration(self.train_seconds)} of training, {scoring} of scoring, '
            f'{self.disk_bytes / 2**20:,.0f} MiB of disk'
        )


def needs(planned: Sequence[Run]) -> dict[str, Need]:
    """What each run, by name, still needs.

    Raises:
        FailedRunError: the plain auto-encoder, or the network of the scores, could not be timed.
    """
    begun = [run for run in planned if pace(run.workdir.perf)]
    paces = _medians((_kind(run), pace(run.workdir.perf)) for run in begun)
    scored = _medians(
        (key, seconds)
        for run in begun
        for seconds in run.journal.scorings()
        for key in (_kind(run), run.config.dataset)
    )
    probed: dict[tuple[str, str], float] = {}
    found = {}
    for run in planned:
        kind, left = _kind(run), run.config.training_steps - run.step()
        if left and not any(kind.other(method) in paces for method in costs()):
            paces[kind.other(PROBED)] = _probe(run)
        unscored = [flags for flags in run.scorings if run.scores(flags) is None]
        known = scored.get(kind, scored.get(run.config.dataset))
        if known is None or data.describe(run.config).kind == 'vectors':
            times = [_scoring(run, flags, probed) for flags in unscored]
        else:
            times = [known] * len(unscored)
        found[run.name] = Need(
            left / _pace(kind, paces) if left else 0.0,
            None if None in times else sum(times),
            _disk(run) if run.missing() else 0,
        )
    return found


def total(found: Iterable[Need]) -> Need:
    """Of all runs, one after the other."""
    none = Need(0.0, 0.0, 0)
    train, score, disk = zip(none, *found, strict=True)
    return Need(sum(train), None if None in score else sum(score), sum(disk))


def costs() -> dict[str, float]:
    """Seconds of an iteration of every method, over those of FlexAE."""
    return _recorded()['timed']['over_flexae']


def timed() -> str:
    """How `costs` were measured, in words."""
    how = _recorded()['timed']
    return (
        f'median of {how["iterations"]} on {how["dataset"]} at width {how["width_multiplier"]:g}, '
        f'all methods in turns ({how["device"].removeprefix("device: ")})'
    )


def _kind(run: Run) -> Kind:
    return Kind(run.config.method, run.config.dataset, run.config.width_multiplier)


def _recorded() -> dict[str, Any]:
    return json.loads(COST.read_text())


def _pace(kind: Kind, paces: dict[Kind, float]) -> float:
    """Iterations per second."""
    if kind in paces:
        return paces[kind]
    over = costs()
    known = next(method for method in over if kind.other(method) in paces)
    return paces[kind.other(known)] * over[known] / over[kind.method]


def _probe(run: Run) -> float:
    """Iterations per second of the plain auto-encoder at the size of `run`."""
    config = run.config
    flags = [
        f'--method={PROBED}',
        f'--dataset={config.dataset}',
        f'--width_multiplier={config.width_multiplier:g}',
        '--iterations=3',
        f'--device={config.device}',
    ]
    what = f'{PROBED} on {config.dataset}, width {config.width_multiplier:g}'
    return 1.0 / _benchmark(what, flags, 'median')


def _scoring(
    run: Run, flags: tuple[str, ...], probed: dict[tuple[str, str], float]
) -> float | None:
    """Seconds of a scoring when nothing on its data set was scored yet; None where nobody knows.

    Nothing is fetched for an estimate: a network has to be on this machine to be timed.
    """
    options, config = run.scoring(flags).options(), run.config
    if data.describe(config).kind == 'vectors':
        every = options.checkpoint == 'all'
        return START + OF_VECTORS * (
            config.training_steps // config.snapshot_every_steps if every else 1
        )
    network = options.inception_path, options.feature_layer
    if options.features == 'pixels' or not (network[0] and os.path.exists(network[0])):
        return None
    if network not in probed:
        what = f'layer {network[1]} of {network[0]}'
        chosen = [f'--inception_path={network[0]}', f'--feature_layer={network[1]}']
        chosen += ['--subject=network', f'--device={options.device}']
        probed[network] = _benchmark(what, chosen, 'images_per_second')
    return START + _network_images(run, flags) / probed[network]


def _benchmark(what: str, flags: Sequence[str], key: str) -> float:
    """One number of what the benchmark says.

    Raises:
        FailedRunError: it says nothing of the kind.
    """
    print(f'timing {what}', flush=True)
    done = subprocess.run(
        [sys.executable, 'bin/benchmark.py', *flags],
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
    )
    try:
        return json.loads(done.stdout.splitlines()[-1])[key]
    except (IndexError, ValueError, KeyError):
        said = (done.stderr.splitlines() or ['it said nothing'])[-1]
        raise FailedRunError(f'bin/benchmark.py could not time {what}: {said}') from None


def _disk(run: Run) -> int:
    """Bytes that a run will take, but for those that it takes already.

    They are of its checkpoints, one more than it keeps, of snapshots, features and densities.
    """
    config = resolve(run.config, data.describe(run.config).shape)
    sizes = _recorded()['sizes']
    own = sizes.get(f'{config.dataset}-{config.width_multiplier:g}') or sizes[config.dataset + '-1']
    snapshots = (
        config.training_steps // config.snapshot_every_steps if config.snapshot_every_steps else 0
    )
    checkpoint, snapshot = (own[k][config.method] for k in ('checkpoint_bytes', 'snapshot_bytes'))
    more = _more_generator(config)
    kept = (config.keep_checkpoints + 1) * (checkpoint + 3 * FLOAT * more)  # Adam's moments, too
    kept += snapshots * (snapshot + FLOAT * more)
    kept += sum(_features(run, flags) for flags in run.scorings)
    # P-GEN and critic stand for a second stage, too.
    size = own['checkpoint_bytes']
    kept += len(_stages(run)) * (config.keep_checkpoints + 1) * (size['flexae'] - size['ae_gmm'])
    folders = (
        run.workdir.checkpoints,
        run.workdir.path / 'features',
        run.workdir.path / 'densities',
    )
    return max(0, kept - sum(map(_size, folders)))


def _more_generator(config: TrainConfig) -> int:
    """By how many parameters P-GEN is larger than it would be by default."""
    if config.generator_capacity is None:
        return 0
    shape = data.describe(config).shape
    default = dataclasses.replace(config, generator_capacity=None)
    chosen, usual = (
        perceptron_parameters(c.noise_dim, *find_architecture(c, shape).generator, c.latent_dim)
        for c in (config, default)
    )
    return chosen - usual


def _stages(run: Run) -> set[str]:
    """The densities of a run that are trained."""
    found = set()
    for flags in run.scorings:
        asked = run.scoring(flags).options().density
        found.add(asked or STAGED.get(run.config.method))
    return found & set(STAGES)


def _size(folder: pathlib.Path) -> int:
    """Bytes of the files in a folder, in which another process may be at work."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.rglob('*'):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _features(run: Run, flags: tuple[str, ...]) -> int:
    """Bytes of the features that a scoring keeps: float32, of generated and of decoded images."""
    images = _network_images(run, flags)
    return FLOAT * images * FEATURES[run.scoring(flags).options().feature_layer] if images else 0


def _network_images(run: Run, flags: tuple[str, ...]) -> int:
    """How many images a scoring shows to the network that no scoring of the run before it did.

    Real ones are shown once for all runs.
    """
    options = run.scoring(flags).options()
    if data.describe(run.config).kind == 'vectors' or options.features == 'pixels':
        return 0

    def shown(flags: tuple[str, ...]) -> set[tuple[str, str | None]]:
        o = run.scoring(flags).options()
        return {
            (name, o.split if name == 'reconstructions' else o.density)
            for name in ('reconstructions', 'samples')
            if name in o.sets
        }

    before = run.scorings[: run.scorings.index(flags)]
    return options.num_examples * len(shown(flags).difference(*map(shown, before)))


def _medians(pairs: Iterable[tuple[Hashable, float]]) -> dict[Hashable, float]:
    values: dict[Hashable, list[float]] = {}
    for kind, value in pairs:
        values.setdefault(kind, []).append(value)
    return {kind: statistics.median(group) for kind, group in values.items()}
