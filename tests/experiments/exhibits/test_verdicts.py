"""The order of rows beside the paper's, on cases done by hand."""

import pytest

from flexae_tf.experiments.columns import OverSeeds, over_seeds
from flexae_tf.experiments.exhibits.verdicts import Verdict, is_lower, judge

NAMES = {row: row.upper() for row in 'abcd'}
PAPER = {'a': 1.0, 'b': 2.0, 'c': 3.0, 'd': 4.0}


def seeds(**values):
    return {row: over_seeds(v if isinstance(v, list) else [v]) for row, v in values.items()}


def texts(judgement):
    return {row: verdict.text(NAMES) for row, verdict in judgement.verdicts.items()}


def counts(judgement):
    return judgement.kept, judgement.contradicted, judgement.undecided


def test_the_same_order_on_another_scale():
    found = judge(PAPER, seeds(a=0.1, b=0.2, c=0.3, d=70.0))
    assert texts(found) == dict.fromkeys('abcd', 'order kept')
    assert counts(found) == (6, 0, 0) and found.tau == pytest.approx(1.0)


def test_a_pair_that_contradicts():
    found = judge(PAPER, seeds(a=1.0, b=3.0, c=2.0, d=4.0))
    assert found.verdicts['b'] == Verdict(('a', 'd'), (), ('c',), (), False)
    assert texts(found) == {
        'a': 'order kept',
        'b': '1 of 3 pairs contradict: worse than C',
        'c': '1 of 3 pairs contradict: better than B',
        'd': 'order kept',
    }
    assert counts(found) == (5, 1, 0) and found.tau == pytest.approx((5 - 1) / 6)


def test_where_higher_is_better_the_words_change_and_the_counts_do_not():
    found = judge(PAPER, seeds(a=1.0, b=3.0, c=2.0, d=4.0), lower_is_better=False)
    assert texts(found)['b'] == '1 of 3 pairs contradict: better than C'
    assert texts(found)['c'] == '1 of 3 pairs contradict: worse than B'
    assert counts(found) == (5, 1, 0)


def test_a_row_between_the_wrong_ones_has_both_sides():
    found = judge(PAPER, seeds(a=3.5, b=2.0, c=3.0, d=1.0))
    assert texts(found)['c'] == '2 of 3 pairs contradict: better than A; worse than D'
    assert texts(found)['a'] == '3 of 3 pairs contradict: worse than B, C, D'
    assert counts(found) == (1, 5, 0)


def test_missing_rows_are_passed_over():
    found = judge(PAPER, seeds(a=1.0, d=2.0, other=0.5))
    assert texts(found) == {'a': 'order kept', 'd': 'order kept'}
    assert counts(found) == (1, 0, 0)
    alone = judge(PAPER, seeds(a=1.0, other=0.5))
    assert texts(alone) == {'a': '-'} and counts(alone) == (0, 0, 0) and alone.tau is None
    nothing = judge(PAPER, {})
    assert nothing.verdicts == {} and nothing.tau is None


def test_means_within_two_standard_errors_are_undecided():
    # Both have sd 1 and n = 2: standard error of the difference 1, so that 2 is the margin.
    near = {'a': OverSeeds(5.0, 1.0, 2), 'b': OverSeeds(3.0, 1.0, 2)}
    assert texts(judge(PAPER, near)) == dict.fromkeys('ab', '1 of 1 pairs undecided')
    assert counts(judge(PAPER, near)) == (0, 0, 1)
    far = near | {'a': OverSeeds(5.01, 1.0, 2)}
    assert counts(judge(PAPER, far)) == (0, 1, 0)


def test_a_row_of_one_seed_has_the_deviation_of_the_others():
    # pooled sd 1: margin between rows of one seed 2 sqrt(2) = 2.83, of one and two 2 sqrt(1.5)
    ours = {
        'a': OverSeeds(0.0, 1.0, 2),
        'b': over_seeds([10.0]),
        'c': over_seeds([7.2]),
        'd': over_seeds([12.84]),
    }
    found = judge(PAPER, ours)
    assert texts(found) == {
        'a': 'order kept',
        'b': 'order kept (1 of 3 pairs undecided)',
        'c': 'order kept (1 of 3 pairs undecided)',
        'd': 'order kept',
    }
    assert counts(found) == (5, 0, 1)


def test_single_seeds_alone_decide_everything_but_ties():
    found = judge(PAPER, seeds(a=2.0, b=1.999, c=5.0, d=5.0))
    assert counts(found) == (4, 1, 1)
    assert texts(found)['d'] == 'order kept (1 of 3 pairs undecided)'
    # tau-b: 4 - 1 of sqrt(6 * 5), as one pair of ours is a tie
    assert found.tau == pytest.approx(3 / 30**0.5)


def test_ties_in_the_paper_are_undecided():
    paper = {'a': 7.4, 'b': 7.4, 'c': 9.0}
    found = judge(paper, seeds(a=1.0, b=2.0, c=0.5))
    assert counts(found) == (0, 2, 1)
    assert texts(found)['a'] == '1 of 2 pairs contradict (1 undecided): worse than C'


@pytest.mark.parametrize('gap, undecided', [(0.58, 1), (0.59, 1), (0.60, 0)])
def test_values_within_the_papers_spread_are_undecided(gap, undecided):
    found = judge({'a': 4.69, 'b': 4.69 + gap}, seeds(a=9.0, b=1.0), spread=0.59)
    assert counts(found) == (0, 1 - undecided, undecided)


def test_within_the_papers_spread_only_where_scores_are_comparable():
    ours = seeds(a=1.59, b=1.41, c=9.0)
    apart = judge(PAPER, ours, spread=0.59)
    assert texts(apart)['a'] == '1 of 2 pairs contradict: worse than B'
    same = judge(PAPER, ours, spread=0.59, comparable=True)
    assert texts(same) == {
        'a': "within the paper's spread",
        'b': "within the paper's spread",
        'c': 'order kept',
    }
    assert counts(same) == counts(apart) == (2, 1, 0)  # they are judged by their order too


def test_no_tau_where_all_are_equal():
    assert judge(PAPER, seeds(a=1.0, b=1.0)).tau is None


def test_of_two_means_one_is_lower_or_nobody_can_tell():
    one, two = OverSeeds(1.0, 0.5, 4), OverSeeds(2.0, None, 1)
    # Two standard errors: 2 sqrt(0.25 / 4 + 0.25) = 1.118; 2 sqrt(0.25 / 4 + 0.01) = 0.539
    assert is_lower(one, two, pooled=0.5) is None and is_lower(two, one, pooled=0.5) is None
    assert is_lower(one, two, pooled=0.1) is True and is_lower(two, one, pooled=0.1) is False
    assert is_lower(one, one, pooled=None) is None
