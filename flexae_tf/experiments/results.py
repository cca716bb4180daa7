"""Scores of runs, from lines of scores.jsonl to columns of means and judged claims."""

import dataclasses
import functools
import itertools
import math
import pathlib
import re
import statistics
from collections import namedtuple
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any

from flexae_tf.errors import UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.experiments import paper
from flexae_tf.experiments.jobs import Evaluation, Job
from flexae_tf.metrics.comparison import Values, decimals_for, over_seeds, welch

FOLDER = pathlib.Path(__file__).with_name('recorded')  # package data
RECORDED = FOLDER / 'scores.jsonl'  # of many runs, each after a line about the run
SUPPORTED, NOT_SUPPORTED = 'supported', 'not supported'
INCONCLUSIVE, NOT_RUN = 'inconclusive', 'not run'
# The paper's scores: of TF-GAN's network and 10000 images.
PAPERS = re.compile(r'(fid|prd_precision|prd_recall)10k_(rec|gen)')
RULE = (
    "Logarithms of scores are compared over seeds at the level 0.05: claims by Welch's t-test, the "
    "order of all rows of a table by Tukey's HSD. A ratio of geometric means has a 95 % interval; "
    'of several pairs, the one with the largest p is shown. A row of one seed is not judged.'
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """One number and its origin."""

    run: str
    method: str  # row of a table: a method, or 'METHOD+DENSITY'
    dataset: str
    latent_dim: int
    seed: int
    options: dict[str, Any]  # of the run, if they differ from their defaults
    set: str  # 'reconstructions', 'samples', 'train' or 'latents'
    stem: str  # the measure: 'fd', 'prd_precision', ...
    metric: str  # states the protocol: 'fid10k_gen', 'fd_mixed_7_5000_gen'
    value: float
    step: int  # of the checkpoint; 0 for scores that belong to no checkpoint
    split: str  # compared with this split
    protocol: str  # id of the `Protocol`
    fields: dict[str, Any]  # of the `Protocol`
    checkpoint: str = ''  # digest of the run's last checkpoint
    code: str = ''  # version of the package that computed the score
    machine: str = ''  # device that trained the run
    environment: dict[str, str] = dataclasses.field(default_factory=dict)  # of the training
    seconds: float | None = None  # training time of run and density; None if unknown
    is_tuned: bool = True  # whether validation examples chose all weights that the paper omits


# Comparable scores: `values` by row, `fields` of their protocol. The rest is None without scores.
Column = namedtuple('Column', 'metric protocol values fields')
# Texts of the paper's values and of ours; the ratio of the pair with the largest p-value.
Claim = namedtuple('Claim', 'text paper ours ratio outcome', defaults=('', '', None, NOT_RUN))


def collect(jobs: Iterable[Job]) -> list[Score]:
    """Returns the scores of the finished evaluations of jobs, read from their workdirs."""
    pairs = ((job, evaluation) for job in jobs for evaluation in job.evaluations)
    return [s for job, e in pairs for s in _scores(job, job.info(), e, job.scores(e) or ())]


def recorded(jobs: Iterable[Job], path: pathlib.Path | None = None) -> dict[str, list[Score]]:
    """Returns the scores, by run, of jobs whose evaluations are all recorded with equal options."""
    known = _read(path or RECORDED)
    found = {}
    for job in jobs:
        info, lines = known.get(job.name, ({}, []))
        results = {e: score_log.completed_in(lines, e.request) for e in job.evaluations}
        if results and None not in results.values() and info['options'] == job.options:
            found[job.name] = [
                s for e, rows in results.items() for s in _scores(job, info, e, rows)
            ]
    return found


def _read(path: pathlib.Path) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Returns `read_runs`, and reads a file again only after it was replaced."""
    if not path.exists():
        return {}
    status = path.stat()
    return _read_version(path, (status.st_ino, status.st_mtime_ns, status.st_size))


@functools.lru_cache(1)  # RESULTS.md has many tables of one file
def _read_version(path: pathlib.Path, _: tuple[int, ...]) -> dict[str, Any]:
    return score_log.read_runs(path)


def save(jobs: Iterable[Job], path: pathlib.Path | None = None) -> None:
    """Adds the finished evaluations of jobs to the recorded results, or replaces the old ones."""
    path = path or RECORDED
    known = score_log.read_runs(path)
    for job in jobs:
        info, results = job.info(), {e.request: job.scores(e) for e in job.evaluations}
        done = {request: rows for request, rows in results.items() if rows is not None}
        if not done:
            continue
        old, lines = known.get(job.name, ({}, []))
        same = all(old.get(key) == info[key] for key in ('options', 'checkpoint'))
        if lines and not same:
            print(f'{job.name}: recorded scores of other weights are removed', flush=True)
        lines = [line for line in lines if same and line.get('complete') not in done]
        for request, rows in done.items():
            end = {'complete': request, 'scores': [row['id'] for row in rows]}
            lines += [*rows, end | {'checkpoint': info['checkpoint'], 'step': job.steps}]
        used = {score for line in lines for score in line.get('scores', ())}
        scores = {line['id']: line for line in lines if line.get('id') in used}
        known[job.name] = info, [*scores.values(), *(row for row in lines if 'complete' in row)]
    score_log.write_runs(path, known)


def _scores(
    job: Job, info: Mapping[str, Any], evaluation: Evaluation, rows: Iterable[dict]
) -> list[Score]:
    shared = {**info, 'method': evaluation.method, 'split': evaluation.config.split}
    shared['is_tuned'] = job.is_tuned
    del shared['density_seconds']
    parts = (info['seconds'], info['density_seconds'].get(evaluation.density, 0.0))
    shared['seconds'] = None if None in parts else sum(parts)
    names = ('set', 'stem', 'metric', 'value', 'step', 'protocol', 'fields', 'code')
    return [Score(**shared, **{name: row[name] for name in names}) for row in rows]


def gather(scores: Iterable[Score], row: Callable[[Score], Hashable] | None = None) -> Column:
    """Returns the column of scores of one protocol, one for each row (or method) and seed."""
    rows: dict[Hashable, dict[int, float]] = {}
    first = None
    for score in scores:
        first = first or score
        if not score.stem.startswith('critic'):  # a protocol of a critic names its checkpoint
            _check_protocol(score, first.run, first.protocol, first.fields)
        seeds = rows.setdefault(row(score) if row else score.method, {})
        if score.seed in seeds:
            raise UsageError(
                f'{score.run}: two values of {score.metric}, {seeds[score.seed]:g} and '
                f'{score.value:g}. Keep one run for each row and seed.'
            )
        seeds[score.seed] = score.value
    means = {name: over_seeds(seeds[s] for s in sorted(seeds)) for name, seeds in rows.items()}
    if first is None:
        return Column(None, None, means, None)
    return Column(first.metric, first.protocol, means, first.fields)


def floor(scores: Iterable[Score], column: Column) -> float | None:
    """Returns the Fréchet distance of training examples, in the column's protocol, or None."""
    found = [s for s in scores if (s.set, s.stem, s.split) == ('train', 'fd', 'test')]
    for score in found if column.protocol else ():
        _check_protocol(score, column.metric, column.protocol, column.fields)
    return statistics.fmean({score.value for score in found}) if found else None


def _check_protocol(score: Score, other: str, protocol: str, fields: Mapping[str, Any]) -> None:
    """Raises `UsageError` for another protocol; `fields` are the fields of the expected one."""
    if score.protocol == protocol:
        return
    names = [n for n in score.fields | fields if score.fields.get(n) != fields.get(n)]
    raise UsageError(
        f'{score.run}: {score.metric} has protocol {score.protocol}, {other} has {protocol} '
        f'(different: {", ".join(names)}). Score both by one protocol.'
    )


def judge_order(
    claim: paper.Order, values: Values, names: Mapping[Hashable, str], decimals: int | None = None
) -> Claim:
    """Judges whether in all pairs the first mean is lower; one that is higher contradicts that."""
    pairs = [pair for pair in claim.pairs if set(pair) <= set(values)]
    if not pairs:
        return Claim(claim.text)
    ratios = {(a, b): welch([values[a]], [values[b]]) for a, b in pairs}
    signs = [ratio.sign if ratio else None for ratio in ratios.values()]
    if len(claim.pairs) == 1:
        means = [values[row] for row in pairs[0]]
        if decimals is None:
            decimals = decimals_for(mean.mean for mean in means)
        ours = ' vs '.join(mean.text(decimals) for mean in means)
    else:
        ours = f'{signs.count(-1)} of {len(claim.pairs)} pairs lower'
        for word, sign in (('higher', 1), ('undecided', 0)):
            found = [pair for pair, s in zip(pairs, signs, strict=True) if s == sign]
            listed = '; '.join(f'{names[a]} vs {names[b]}' for a, b in found)
            ours += f', {len(found)} {word} ({listed})' if found else ''
        ours += f', {signs.count(None)} with one seed' if None in signs else ''
        missing = len(claim.pairs) - len(pairs)
        ours += f', {missing} not run' if missing else ''
    outcome = SUPPORTED if signs == [-1] * len(claim.pairs) else INCONCLUSIVE
    known = list(filter(None, ratios.values()))
    ratio = max(known, key=lambda found: found.p, default=None)
    return Claim(claim.text, '', ours, ratio, NOT_SUPPORTED if 1 in signs else outcome)


def judge_trend(
    claim: paper.Trend, values: Values, published: Collection[float] = (), constant: float = 1.0
) -> Claim:
    """Judges whether positive values fall, rise, or have a ratio of at most `constant`."""
    there = _series(published, 2) if published else ''
    if not set(claim.rows) <= set(values):
        return Claim(claim.text, there)
    rows = [values[row] for row in claim.rows]
    means = [row.mean for row in rows]
    ours, first, last = _series(means, decimals_for(means)), rows[0], rows[-1]
    if claim.direction == 'constant':
        last, first = rows[means.index(max(means))], rows[means.index(min(means))]
    else:
        sign = 1.0 if claim.direction == 'rises' else -1.0
        monotonic = all(sign * (b - a) > 0.0 for a, b in itertools.pairwise(means))
        ours += ', at every step' if monotonic else ', not at every step'
    if not (ratio := welch([last], [first])):
        return Claim(claim.text, there, ours + ', one seed', None, INCONCLUSIVE)
    if claim.direction == 'constant':
        outcome = outcome_of((ratio.high <= constant) - (ratio.low > constant))
    else:
        outcome = outcome_of(sign * ratio.sign)
    return Claim(claim.text, there, ours, ratio, outcome)


def judge_floor(claim: paper.Order, values: Values, floors: Values, largest: float) -> Claim:
    """Judges whether values are at most `largest` times their floors; `pairs` lists the rows."""
    rows = [row for row in claim.pairs if row in values and row in floors]
    ratios = [welch([values[row]], [floors[row]]) for row in rows]
    if not rows or None in ratios:
        return Claim(claim.text, outcome=INCONCLUSIVE if rows else NOT_RUN)
    ours = ' → '.join(f'{ratio.value:.1f}' for ratio in ratios) + ' times the floor'
    is_above = any(ratio.low > largest for ratio in ratios)
    reached = len(rows) == len(claim.pairs) and all(ratio.high <= largest for ratio in ratios)
    return Claim(claim.text, '', ours, max(ratios), outcome_of(reached - is_above))


def outcome_of(sign: float) -> str:
    """Returns the outcome of a claim that a number is positive; 0 is inconclusive."""
    return INCONCLUSIVE if not sign else SUPPORTED if sign > 0.0 else NOT_SUPPORTED


def _series(values: Collection[float], decimals: int) -> str:
    """Formats as `0.27 → 0.31 → 0.16 (max/min 1.95)`."""
    ratio = max(values) / min(values) if min(values) > 0.0 else math.inf
    return f'{" → ".join(f"{v:.{decimals}f}" for v in values)} (max/min {ratio:.2f})'
