"""Means over seeds, differences and rank agreement, on cases worked out by hand."""

import math

import pytest

from flexae_tf.metrics import comparison
from flexae_tf.metrics.comparison import Mean, over_seeds

PAPER = {'a': 1.0, 'b': 2.0, 'c': 3.0, 'd': 4.0}


def seeds(**values):
    """Returns means by row of one value, or of a list of values by seed."""
    return {row: over_seeds(v if isinstance(v, list) else [v]) for row, v in values.items()}


def counts(found):
    return tuple(len(group) for group in found[:3])


def test_over_seeds_by_hand():
    assert over_seeds([1.0, 3.0]) == Mean(2.0, pytest.approx(2**0.5), 2)
    assert over_seeds([4.0]) == Mean(4.0, None, 1)
    assert over_seeds([4.0]).text(2) == '4.00 (1)'
    assert Mean(4.69, 0.123, 3).text(2) == '4.69 ± 0.12 (3)'
    decimals = [comparison.decimals_for([v]) for v in (123.0, 1.5, 0.206, 0.0206, 0.0)]
    assert decimals == [2, 2, 3, 4, 2]


def test_fill_difference_and_growth_by_hand():
    rows = {'a': Mean(0.0, 1.0, 2), 'b': Mean(0.0, 2.0, 4), 'c': Mean(0.0, None, 1)}
    found = comparison.fill(rows)
    assert found['c'] == (0.0, pytest.approx(math.sqrt((1.0 + 3 * 4.0) / 4)), 1)
    assert (found['a'], found['b']) == (rows['a'], rows['b'])
    assert comparison.fill({'c': rows['c']}) == {'c': (0.0, 0.0, 1)}
    one = Mean(1.0, 0.5, 4)
    # 2 sqrt(0.25 / 4 + 0.25) = 1.118; 2 sqrt(0.25 / 4 + 0.01) = 0.539
    far, near = Mean(2.0, 0.5, 1), Mean(2.0, 0.1, 1)
    assert comparison.difference(one, far) == comparison.difference(far, one) == 0.0
    assert comparison.difference(one, near) == 1.0 == -comparison.difference(near, one)
    ratio = comparison.growth(Mean(2.0, 0.2, 1), Mean(6.0, 0.3, 1))
    assert ratio.mean == 3.0
    assert ratio.sd == pytest.approx(3.0 * math.sqrt(0.1**2 + 0.05**2))
    assert comparison.growth(Mean(2.0, 0.0, 1), Mean(6.0, 0.0, 1)) == Mean(3.0, 0.0, 1)


def test_agreement_names_contradicting_pairs_as_better_and_worse():
    found = comparison.agreement(PAPER, seeds(a=0.1, b=0.2, c=0.3, d=70.0))
    assert counts(found) == (6, 0, 0) and found.tau == pytest.approx(1.0)
    ours = seeds(a=1.0, b=3.0, c=2.0, d=4.0)
    found = comparison.agreement(PAPER, ours)
    assert counts(found) == (5, 1, 0) and found.contradicted == [('c', 'b')]
    assert found.tau == pytest.approx((5 - 1) / 6)
    higher = comparison.agreement(PAPER, ours, lower_is_better=False)
    assert counts(higher) == (5, 1, 0) and higher.contradicted == [('b', 'c')]


def test_agreement_of_missing_rows_and_of_single_seeds():
    found = comparison.agreement(PAPER, seeds(a=1.0, d=2.0, other=0.5))
    assert found.kept == [('a', 'd')] and counts(found) == (1, 0, 0)
    single = comparison.agreement(PAPER, seeds(a=1.0, other=0.5))
    assert counts(single) == (0, 0, 0) and single.tau is None
    assert comparison.agreement(PAPER, {}).tau is None
    found = comparison.agreement(PAPER, seeds(a=2.0, b=1.999, c=5.0, d=5.0))
    assert counts(found) == (4, 1, 1)
    assert found.tau == pytest.approx(3 / 30**0.5)  # tau-b: one of our pairs is a tie
    assert comparison.agreement(PAPER, seeds(a=1.0, b=1.0)).tau is None


def test_agreement_is_undecided_within_two_standard_errors():
    # Both have sd 1 and n = 2: the standard error of the difference is 1, so the margin is 2.
    near = {'a': Mean(5.0, 1.0, 2), 'b': Mean(3.0, 1.0, 2)}
    assert counts(comparison.agreement(PAPER, near)) == (0, 0, 1)
    assert counts(comparison.agreement(PAPER, near | {'a': Mean(5.01, 1.0, 2)})) == (0, 1, 0)
    # Pooled sd 1: the margin of two rows of one seed is 2 sqrt(2) = 2.83.
    ours = {'a': Mean(0.0, 1.0, 2)} | seeds(b=10.0, c=7.2, d=12.84)
    assert counts(comparison.agreement(PAPER, ours)) == (5, 0, 1)


@pytest.mark.parametrize('gap, undecided', [(0.0, 1), (0.58, 1), (0.59, 1), (0.60, 0)])
def test_agreement_is_undecided_within_the_papers_spread(gap, undecided):
    published = {'a': 4.69, 'b': 4.69 + gap}
    found = comparison.agreement(published, seeds(a=9.0, b=1.0), spread=0.59)
    assert counts(found) == (0, 1 - undecided, undecided)
