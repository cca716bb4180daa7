"""Means over seeds, tests of ratios and rank agreement."""

import math

import numpy as np
import pytest
import scipy

from flexae_tf.metrics import comparison
from flexae_tf.metrics.comparison import Mean, over_seeds, tukey, welch

PAPER = {'a': 1.0, 'b': 2.0, 'c': 3.0, 'd': 4.0}
NEAR = (0.99, 1.0, 1.01)  # seeds of a row, as factors


def seeds(**values):
    """Returns means by row of one value, or of a list of values by seed."""
    return {row: over_seeds(v if isinstance(v, list) else [v]) for row, v in values.items()}


def near(**values):
    """Returns means of three seeds that differ by one per cent."""
    return seeds(**{row: [value * factor for factor in NEAR] for row, value in values.items()})


def counts(found):
    return tuple(len(group) for group in found[:4])


def test_over_seeds_by_hand():
    found = over_seeds([1.0, 3.0])
    assert (found.mean, found.sd, len(found.values)) == (2.0, pytest.approx(2**0.5), 2)
    assert over_seeds([4.0]).sd is None
    assert over_seeds([4.0]).text(2) == '4.00 (1)'
    assert Mean((4.567, 4.813)).text(2) == '4.69 ± 0.17 (2)'
    decimals = [comparison.decimals_for([v]) for v in (123.0, 1.5, 0.206, 0.0206, 0.0)]
    assert decimals == [2, 2, 3, 4, 2]


def test_welch_equals_scipy_on_logarithms():
    a, b = over_seeds([1.0, 2.0, 4.0]), over_seeds([3.0, 5.0, 7.0, 9.0])
    expected = scipy.stats.ttest_ind(np.log(a.values), np.log(b.values), equal_var=False)
    interval = expected.confidence_interval(0.95)
    found = welch([a], [b])
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert found.value == pytest.approx(2.0 / (3 * 5 * 7 * 9) ** 0.25)
    assert (
        found.sign == 0
        and found.text() == f'{found.value:.2f} ({found.low:.2f} to {found.high:.2f})'
    )
    back = welch([b], [a])
    assert (back.value, back.low, back.high) == pytest.approx(
        (1 / found.value, 1 / found.high, 1 / found.low)
    )


def test_welch_of_growths_by_hand():
    # Logarithms 0, 0.2 and so on: each row has the squared error 0.02 / 2, four rows 0.04.
    def row(start):
        return over_seeds([math.exp(start), math.exp(start + 0.2)])

    found = welch([row(2.0), row(0.5)], [row(1.0), row(0.0)])
    # A gap of 1.5 is 7.5 standard errors of 0.2, with 0.04^2 / (4 * 0.01^2) = 4 degrees of freedom.
    assert math.log(found.value) == pytest.approx(1.5)
    assert found.p == pytest.approx(2.0 * scipy.stats.t.sf(7.5, 4)) and found.sign == 1
    assert math.log(found.high) == pytest.approx(1.5 + 0.2 * 2.7764, rel=1e-4)


def test_rows_that_cannot_be_judged():
    two = over_seeds([1.0, 2.0])
    for other in ([3.0], [-1.0, 2.0], [0.0, 1.0]):
        assert welch([two], [over_seeds(other)]) is None
        assert tukey({'a': two, 'b': over_seeds(other)}) == {}
    same = over_seeds([2.0, 2.0])
    assert welch([same], [same]) == (1.0, 1.0, 1.0, 1.0) and welch([same], [same]).sign == 0
    assert welch([over_seeds([4.0, 4.0])], [same]) == pytest.approx((2.0, 2.0, 2.0, 0.0))
    certain = tukey({'a': over_seeds([1.0, 1.0]), 'b': same})
    assert certain['a', 'b'] == pytest.approx((0.5, 0.5, 0.5, 0.0)) and certain['b', 'a'].sign == 1


def test_tukey_pools_the_spread_of_all_rows():
    rows = seeds(a=[1.0, 1.1, 1.2], b=[2.0, 2.1, 2.4], c=[2.1, 2.2, 2.3], d=[9.0])
    found = tukey(rows)
    assert set(found) == {(i, j) for i in 'abc' for j in 'abc' if i != j}
    expected = scipy.stats.tukey_hsd(*(np.log(rows[row].values) for row in 'abc'))
    assert found['a', 'b'].p == pytest.approx(expected.pvalue[0, 1])
    assert (found['a', 'b'].sign, found['b', 'a'].sign, found['b', 'c'].sign) == (-1, 1, 0)
    assert found['b', 'a'].low == pytest.approx(1.0 / found['a', 'b'].high)


def test_agreement_names_contradicting_pairs_as_better_and_worse():
    found = comparison.agreement(PAPER, near(a=0.1, b=0.2, c=0.3, d=70.0))
    assert counts(found) == (6, 0, 0, 0) and found.tau == pytest.approx(1.0)
    ours = near(a=1.0, b=3.0, c=2.0, d=4.0)
    found = comparison.agreement(PAPER, ours)
    assert counts(found) == (5, 1, 0, 0) and list(found.contradicted) == [('c', 'b')]
    assert found.contradicted['c', 'b'].value == pytest.approx(2.0 / 3.0)
    assert found.tau == pytest.approx((5 - 1) / 6)
    higher = comparison.agreement(PAPER, ours, lower_is_better=False)
    assert counts(higher) == (5, 1, 0, 0) and list(higher.contradicted) == [('b', 'c')]


def test_agreement_of_missing_rows_of_ties_and_of_single_seeds():
    found = comparison.agreement(PAPER, near(a=1.0, d=2.0, other=0.5))
    assert list(found.kept) == [('a', 'd')] and counts(found) == (1, 0, 0, 0)
    single = comparison.agreement(PAPER, near(a=1.0, b=2.0) | seeds(c=0.5))
    assert counts(single) == (1, 0, 0, 2) and set(single.unjudged) == {('a', 'c'), ('b', 'c')}
    assert single.tau == pytest.approx(-1 / 3)
    assert comparison.agreement(PAPER, {}).tau is None
    assert comparison.agreement(PAPER, near(a=1.0, b=1.0)).undecided == [('a', 'b')]
    tied = comparison.agreement({'a': 4.69, 'b': 4.69}, near(a=9.0, b=1.0))
    assert counts(tied) == (0, 0, 0, 0)
    # Near values of the paper excuse no violation.
    assert counts(comparison.agreement({'a': 4.69, 'b': 4.7}, near(a=9.0, b=1.0)))[1] == 1
