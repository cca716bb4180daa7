"""Scores of runs: from lines of scores.jsonl to means, standard deviations and claims.

A score is stored in the `scores.jsonl` of its run. The results that come with the package are the
same lines in one file (`RECORDED`), preceded for each run by a line about the run.
"""

import dataclasses
import json
import math
import pathlib
import re
import statistics
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flexae_tf.errors import UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.experiments import paper
from flexae_tf.experiments.plans import Evaluation, Job
from flexae_tf.files import read_jsonl, write_text

FOLDER = pathlib.Path(__file__).with_name('recorded')  # package data
RECORDED = FOLDER / 'scores.jsonl'
SUPPORTED, NOT_SUPPORTED = 'supported', 'not supported'
INCONCLUSIVE, NOT_RUN = 'inconclusive', 'not run'
ROUNDING = 1e-9  # of differences of decimal numbers
RULE = (
    'Two means differ if they are more than two standard errors of their difference apart; a row '
    "with one seed takes the other rows' standard deviation. By chance, 12 to 18 % of pairs of "
    'three seeds each are as far apart. If no row has two seeds, any difference counts.'
)
_RUN = ('run', 'method', 'dataset', 'latent_dim', 'seed', 'options', 'checkpoint')
_RUN += ('machine', 'environment', 'seconds', 'density_seconds')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """One number and its origin.

    Attributes:
        run: name of the run.
        method: method of the run, or of the run with the density that was evaluated (a method that
            is fitted from another one, or 'METHOD+DENSITY').
        dataset, latent_dim, seed, options: of the run; options that differ from their defaults.
        set: 'reconstructions', 'samples', 'train' or 'latents'.
        stem: what is measured: 'fd', 'prd_precision', ...
        metric: name that states the protocol: 'fid10k_gen', 'fd_mixed_7_5000_gen'.
        step: of the checkpoint; 0 for scores that belong to no checkpoint.
        split: compared with this split.
        protocol, fields: id and fields of the `Protocol`.
        checkpoint: digest of the run's last checkpoint.
        code: version of the package that computed the score.
        machine: device that trained the run.
        environment: versions that trained the run; empty if unknown.
        seconds: training time of the run and of the density; None if unknown.
    """

    run: str
    method: str
    dataset: str
    latent_dim: int
    seed: int
    options: dict[str, Any]
    set: str
    stem: str
    metric: str
    value: float
    step: int
    split: str
    protocol: str
    fields: dict[str, Any]
    checkpoint: str = ''
    code: str = ''
    machine: str = ''
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float | None = None


class Mean(NamedTuple):
    """Mean, standard deviation (n - 1; None for one seed) and number of seeds."""

    mean: float
    sd: float | None
    n: int

    def text(self, decimals: int) -> str:
        """Formats as `4.69 ± 0.12 (3)`."""
        sd = '' if self.sd is None else f' ± {self.sd:.{decimals}f}'
        return f'{self.mean:.{decimals}f}{sd} ({self.n})'


class Column(NamedTuple):
    """Comparable scores by row; `metric` and `protocol` are None without scores."""

    metric: str | None
    protocol: str | None
    values: dict[Hashable, Mean]

    @property
    def is_papers(self) -> bool:
        """True if the scores are of the paper's kind: TF-GAN's network, 10000 images."""
        return bool(re.fullmatch(r'(fid|prd_precision|prd_recall)10k_(rec|gen)', self.metric or ''))


class Claim(NamedTuple):
    """A claim and its outcome.

    Attributes:
        text: the claim.
        paper: value or trend in the paper; '' if the paper gives none.
        ours: our value.
        p: p-value of Welch's t-test, the largest one of several pairs; None if a row has one seed.
        outcome: SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE or NOT_RUN.
    """

    text: str
    paper: str
    ours: str
    p: float | None
    outcome: str


class Agreement(NamedTuple):
    """Pairs of rows compared with the paper's order; each pair as (better here, worse here)."""

    kept: list[tuple[str, str]]
    contradicted: list[tuple[str, str]]
    undecided: list[tuple[str, str]]
    tau: float | None  # Kendall's tau-b; None if undefined


# Collecting scores --------------------------------------------------------------------------------


def collect(jobs: Iterable[Job]) -> list[Score]:
    """Returns the scores of the finished evaluations of jobs, read from their workdirs."""
    found = []
    for job in jobs:
        info = job.info()
        for evaluation in job.evaluations:
            found += _scores(info, evaluation, job.scores(evaluation) or ())
    return found


def recorded(jobs: Iterable[Job], path: pathlib.Path | None = None) -> dict[str, list[Score]]:
    """Returns the scores, by run, of jobs whose evaluations are all recorded with equal options.

    Args:
        jobs: planned jobs.
        path: file of recorded results; `RECORDED` if None.
    """
    known = read(path)
    found = {}
    for job in jobs:
        info, lines = known.get(job.name, ({}, []))
        if info.get('options') != job.options or not job.evaluations:
            continue
        results = {e: score_log.completed_in(lines, e.request) for e in job.evaluations}
        if None not in results.values():
            found[job.name] = [s for e, rows in results.items() for s in _scores(info, e, rows)]
    return found


def read(path: pathlib.Path | None = None) -> dict[str, tuple[dict[str, Any], list[dict]]]:
    """Returns (line about the run, lines of its scores.jsonl) of each recorded run, by name."""
    fields: dict[str, dict[str, Any]] = {}
    found: dict[str, tuple[dict[str, Any], list[dict]]] = {}
    lines: list[dict] = []
    for line in read_jsonl(path or RECORDED):
        if 'run' in line:
            lines = []
            found[line['run']] = (line, lines)
        elif 'benchmark' not in line:
            if 'protocol' in line:
                fields.setdefault(line['protocol'], line.get('fields'))
                line['fields'] = fields[line['protocol']]
            lines.append(line)
    return found


def benchmark(path: pathlib.Path | None = None) -> dict[str, Any]:
    """Returns the recorded time of an iteration of every method; empty if there is none."""
    return next((line for line in read_jsonl(path or RECORDED) if 'benchmark' in line), {})


def save(jobs: Iterable[Job], path: pathlib.Path | None = None) -> None:
    """Adds the finished evaluations of jobs to the recorded results.

    Lines of a run that was trained again replace the old ones; an evaluation that was repeated
    replaces its old line.
    """
    path = path or RECORDED
    known, speed = read(path), benchmark(path)
    for job in jobs:
        info = job.info()
        done = {e.request: job.scores(e) for e in job.evaluations}
        done = {request: rows for request, rows in done.items() if rows is not None}
        if not done:
            continue
        old, lines = known.get(job.name, ({}, []))
        same = (old.get('options'), old.get('checkpoint')) == (info['options'], info['checkpoint'])
        kept = [line for line in lines if same and line.get('complete') not in done]
        scores = {line['id']: line for line in kept if 'id' in line}
        for rows in done.values():
            scores |= {row['id']: row for row in rows}
        ends = [line for line in kept if 'complete' in line]
        ends += [
            {'complete': request, 'scores': [row['id'] for row in rows]}
            | {'checkpoint': info['checkpoint'], 'step': job.steps}
            for request, rows in done.items()
        ]
        used = {score for end in ends for score in end['scores']}
        known[job.name] = (info, [*(s for i, s in scores.items() if i in used), *ends])
    write_recorded(path, known, speed)


def write_recorded(
    path: pathlib.Path, runs: Mapping[str, tuple[dict, list[dict]]], speed: Mapping[str, Any]
) -> None:
    """Writes recorded results in a fixed order; `fields` only at the first use of a protocol."""
    lines, seen = [dict(speed)] if speed else [], set()
    for name in sorted(runs):
        info, scores = runs[name]
        lines.append({key: info[key] for key in _RUN})
        for line in scores:
            line = {k: v for k, v in line.items() if v is not None}
            if line.get('protocol') in seen:
                line.pop('fields', None)
            seen.add(line.get('protocol'))
            lines.append(line)
    write_text(path, ''.join(json.dumps(line) + '\n' for line in lines))


def _scores(info: Mapping[str, Any], evaluation: Evaluation, rows: Iterable[dict]) -> list[Score]:
    config = evaluation.config
    shared = {key: info[key] for key in _RUN if key not in ('method', 'density_seconds', 'seconds')}
    shared['method'] = evaluation.method
    shared['seconds'] = None
    extra = info['density_seconds'].get(evaluation.density, 0.0)
    if info['seconds'] is not None and extra is not None:
        shared['seconds'] = info['seconds'] + extra
    names = ('set', 'stem', 'metric', 'value', 'step', 'protocol', 'fields', 'code')
    return [
        Score(**shared, split=config.split, **{name: row[name] for name in names}) for row in rows
    ]


# Statistics ---------------------------------------------------------------------------------------


def over_seeds(values: Sequence[float]) -> Mean:
    """Returns mean and standard deviation of at least one value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Mean(statistics.fmean(values), sd, len(values))


def gather(scores: Iterable[Score], row: Callable[[Score], Hashable] | None = None) -> Column:
    """Returns the column of scores of one set and stem.

    Args:
        scores: at most one for each row and seed.
        row: row of a score; its method if None.

    Raises:
        UsageError: the scores are of two protocols, or a row and seed has two scores.
    """
    row = row or (lambda score: score.method)
    rows: dict[Hashable, dict[int, float]] = {}
    first = None
    for score in scores:
        first = first or score
        if score.protocol != first.protocol:
            raise UsageError(
                f'{score.run}: {score.metric} has protocol {score.protocol}, {first.run} '
                f'has {first.protocol}. Score both by one protocol.'
            )
        seeds = rows.setdefault(row(score), {})
        if score.seed in seeds:
            raise UsageError(
                f'{score.run}: two values of {score.metric}, {seeds[score.seed]:g} and '
                f'{score.value:g}. Keep one run for each row and seed.'
            )
        seeds[score.seed] = score.value
    means = {name: over_seeds(list(seeds.values())) for name, seeds in rows.items()}
    return Column(first and first.metric, first and first.protocol, means)


def pooled_sd(rows: Iterable[Mean]) -> float | None:
    """Returns the pooled standard deviation over seeds; None if no row has two seeds."""
    known = [row for row in rows if row.sd is not None]
    squares = sum((row.n - 1) * row.sd**2 for row in known)
    return math.sqrt(squares / sum(row.n - 1 for row in known)) if known else None


def margin(a: Mean, b: Mean, pooled: float | None) -> float:
    """Returns two standard errors of the difference of two means.

    Args:
        a: one row.
        b: another row.
        pooled: standard deviation of a row with one seed; 0 is returned if it is needed and None.
    """
    sds = [pooled if row.sd is None else row.sd for row in (a, b)]
    return 0.0 if None in sds else 2.0 * math.sqrt(sds[0] ** 2 / a.n + sds[1] ** 2 / b.n)


def difference(a: Mean, b: Mean, pooled: float | None, at_least: float = 0.0) -> float:
    """Returns mean(b) - mean(a), or 0 if it is within the margin or `at_least`."""
    gap = b.mean - a.mean
    return 0.0 if abs(gap) <= max(margin(a, b, pooled), at_least) + ROUNDING else gap


def agreement(
    published: Mapping[str, float],
    ours: Mapping[str, Mean],
    *,
    lower_is_better: bool = True,
    spread: float = 0.0,
) -> Agreement:
    """Compares the order of the rows of a column with the paper's.

    A pair is undecided if our means, or the paper's values by `spread`, do not differ.
    """
    rows = [row for row in published if row in ours]
    pooled = pooled_sd(ours.values())
    kept, contradicted, undecided = [], [], []
    for i, row in enumerate(rows):
        for other in rows[i + 1 :]:
            here = difference(ours[row], ours[other], pooled)
            there = published[other] - published[row]
            better = (here > 0.0) == lower_is_better
            pair = (row, other) if better else (other, row)
            if not here or abs(there) <= spread + ROUNDING:
                undecided.append(pair)
            else:
                (kept if (here > 0.0) == (there > 0.0) else contradicted).append(pair)
    tau = _tau([published[row] for row in rows], [ours[row].mean for row in rows])
    return Agreement(kept, contradicted, undecided, tau)


def _tau(a: Sequence[float], b: Sequence[float]) -> float | None:
    if len(a) < 2:
        return None
    from scipy import stats  # takes seconds to import

    tau = float(stats.kendalltau(a, b).statistic)
    return None if math.isnan(tau) else tau


def welch_p(a: Mean, b: Mean) -> float | None:
    """Returns the two-sided p-value of Welch's t-test; None if a row has one seed."""
    if a.sd is None or b.sd is None or not a.sd + b.sd:
        return None
    from scipy import stats

    test = stats.ttest_ind_from_stats(a.mean, a.sd, a.n, b.mean, b.sd, b.n, equal_var=False)
    return float(test.pvalue)


# Claims -------------------------------------------------------------------------------------------


def judge_order(
    claim: paper.Order,
    values: Mapping[Hashable, Mean],
    names: Mapping[Hashable, str],
    *,
    published: str = '',
    decimals: int | None = None,
) -> Claim:
    """Judges whether in all pairs of rows the first mean is lower.

    The claim is not supported if one pair is the other way round, and inconclusive if a pair is
    undecided or a row is missing.
    """
    pairs = [pair for pair in claim.pairs if set(pair) <= set(values)]
    if not pairs:
        return Claim(claim.text, published, '', None, NOT_RUN)
    if decimals is None:
        decimals = decimals_for(values[row].mean for pair in pairs for row in pair)
    pooled = pooled_sd(values[row] for row in {row: 0 for pair in pairs for row in pair})
    signs = {pair: difference(*(values[row] for row in pair), pooled) for pair in pairs}
    against = [pair for pair, sign in signs.items() if sign < 0.0]
    open_pairs = [pair for pair, sign in signs.items() if not sign]
    missing = len(claim.pairs) - len(pairs)
    outcome = INCONCLUSIVE if open_pairs or missing else SUPPORTED
    outcome = NOT_SUPPORTED if against else outcome
    if len(claim.pairs) == 1:
        ours = ' vs '.join(values[row].text(decimals) for row in pairs[0])
    else:
        parts = [f'{len(pairs) - len(against) - len(open_pairs)} of {len(claim.pairs)} pairs lower']
        for what, found in (('higher', against), ('undecided', open_pairs)):
            if found:
                listed = '; '.join(f'{names[a]} vs {names[b]}' for a, b in found)
                parts.append(f'{len(found)} {what} ({listed})')
        ours = ', '.join([*parts, f'{missing} not run'] if missing else parts)
    ps = [welch_p(*(values[row] for row in pair)) for pair in pairs]
    return Claim(claim.text, published, ours, None if None in ps else max(ps), outcome)


def judge_trend(
    claim: paper.Trend,
    values: Mapping[Hashable, Mean],
    *,
    published: Sequence[float] = (),
    constant: float = 1.0,
) -> Claim:
    """Judges whether positive values fall or rise from the first row to the last, or stay.

    Args:
        claim: the claim.
        values: column of the rows.
        published: the paper's values in the same order.
        constant: largest ratio of two values that counts as constant.
    """
    there = _series(list(published), 2) if published else ''
    if not set(claim.rows) <= set(values):
        return Claim(claim.text, there, '', None, NOT_RUN)
    found = [values[row] for row in claim.rows]
    means = [value.mean for value in found]
    ours = _series(means, decimals_for(means))
    pooled = pooled_sd(values.values())
    sign = 1.0 if claim.direction == 'rises' else -1.0
    if claim.direction == 'constant':
        supported = max(means) / min(means) <= constant + ROUNDING
        return Claim(claim.text, there, ours, None, SUPPORTED if supported else NOT_SUPPORTED)
    steps = [sign * (b - a) for a, b in zip(means, means[1:], strict=False)]
    ours += ', at every step' if min(steps) > 0.0 else ', not at every step'
    rise = sign * difference(found[0], found[-1], pooled)
    outcome = (SUPPORTED if rise > 0.0 else NOT_SUPPORTED) if rise else INCONCLUSIVE
    return Claim(claim.text, there, ours, welch_p(found[0], found[-1]), outcome)


def growth(first: Mean, last: Mean, pooled: float | None) -> Mean:
    """Returns the ratio of two positive means with its standard error as `sd` of one value."""
    ratio = last.mean / first.mean
    sds = [pooled if end.sd is None else end.sd for end in (first, last)]
    if None in sds:
        return Mean(ratio, None, 1)
    squares = sum((sd / e.mean) ** 2 / e.n for sd, e in zip(sds, (first, last), strict=True))
    return Mean(ratio, ratio * math.sqrt(squares), 1)


def floor(scores: Iterable[Score], column: Column) -> float | None:
    """Returns the Fréchet distance of training examples; None if it was not scored.

    Raises:
        UsageError: its protocol differs from the column's.
    """
    values = set()
    for score in scores:
        if (score.set, score.stem) == ('train', 'fd'):
            if column.protocol not in (None, score.protocol):
                raise UsageError(
                    f'{score.run}: {score.metric} has protocol {score.protocol}, {column.metric} '
                    f'has {column.protocol}. Score both by one protocol.'
                )
            values.add(score.value)
    return statistics.fmean(values) if values else None


def decimals_for(values: Iterable[float]) -> int:
    """Returns the decimals that show three digits of the largest value, at least two."""
    largest = max(values, default=1.0)
    return max(2, 2 - math.floor(math.log10(largest))) if largest > 0.0 else 2


def _series(values: Collection[float], decimals: int) -> str:
    """Formats as `0.27 → 0.31 → 0.16 (max/min 1.95)`."""
    ratio = max(values) / min(values) if min(values) > 0.0 else math.inf
    return f'{" → ".join(f"{v:.{decimals}f}" for v in values)} (max/min {ratio:.2f})'
