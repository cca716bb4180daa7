"""What the paper says of an order of rows, and what ours tell of it, as notes of a table."""

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence

from flexae_tf.errors import UsageError
from flexae_tf.experiments.columns import Column, OverSeeds, over_seeds, pooled_sd
from flexae_tf.experiments.exhibits.showing import decimals_for, number
from flexae_tf.experiments.exhibits.verdicts import HOLDS, is_lower
from flexae_tf.experiments.records import Record

OURS = 'Mean ± standard deviation over seeds (how many); -: not run.'


def lower(
    claim: str,
    better: Iterable[Hashable],
    worse: Iterable[Hashable],
    values: Mapping[Hashable, OverSeeds],
    *,
    names: Mapping[Hashable, str],
    decimals: int | None = None,
) -> str:
    """Whether every row of `better` is lower than every row of `worse`; as `ordered`."""
    pairs = list(itertools.product(better, worse))
    return ordered(claim, pairs, values, names=names, decimals=decimals)


def ordered(
    claim: str,
    pairs: Sequence[tuple[Hashable, Hashable]],
    values: Mapping[Hashable, OverSeeds],
    *,
    names: Mapping[Hashable, str],
    decimals: int | None = None,
) -> str:
    """Whether of all pairs of rows the first is lower than the second.

    It holds where all pairs do, and does not where one is the other way round; it is undecided
    while a row is missing, unless it fails already.

    Args:
        claim: of the paper; begins the note.
        pairs: of rows.
        values: of a column.
        names: of all these rows.
        decimals: of their values; three digits of the largest when None.
    """
    rows = list(dict.fromkeys([*(a for a, _ in pairs), *(b for _, b in pairs)]))
    missing = [names[row] for row in rows if row not in values]
    aside = f' Not run: {", ".join(missing)}.' if missing else ''
    pairs = [pair for pair in pairs if set(pair) <= set(values)]
    if not pairs:
        return f'{claim}: not judged.{aside}'
    pooled = pooled_sd(values[row] for row in rows if row in values)
    found: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    if decimals is None:
        decimals = decimals_for(values[row].mean for pair in pairs for row in pair)
    for a, b in pairs:
        texts = (f'{names[row]} {number(values[row], decimals)}' for row in (a, b))
        found[is_lower(values[a], values[b], pooled=pooled)].append(' against '.join(texts))
    holds = False if found[False] else (None if found[None] or missing else True)
    note = f'{claim}: {HOLDS[holds]}'
    if len(pairs) == 1 and not missing:
        return f'{note} ({next(iter(found[holds]))}).'
    note += f'; {len(found[True])} of {len(pairs)} pairs as claimed'
    for key, what in ((False, 'the other way round'), (None, 'undecided')):
        if found[key]:
            note += f', {len(found[key])} {what} ({"; ".join(found[key])})'
    return f'{note}.{aside}'


def about(what: str, column: Column) -> list[str]:
    """By which protocol a column is, if it has anything."""
    return [f'{what}: {column.metric}, protocol {column.protocol}.'] if column.metric else []


def floor(records: Iterable[Record], column: Column) -> OverSeeds | None:
    """The Frechet distance of as many training examples; None where it was not scored.

    It is no run's: what runs repeat of it counts once.

    Raises:
        UsageError: it is by another protocol than the column.
    """
    values = set()
    for r in records:
        if (r.kind, r.stem) != ('floor', 'fd'):
            continue
        if column.protocol not in (None, r.protocol):
            raise UsageError(
                f'{column.metric} is by protocol {column.protocol}, its floor {r.metric} of '
                f'{r.run} by {r.protocol}: score both by one of them'
            )
        values.add(r.value)
    return over_seeds([sum(values) / len(values)]) if values else None
