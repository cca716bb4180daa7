"""Scores over seeds, and what may stand in one column."""

import math

import pytest

from flexae_tf.errors import UsageError
from flexae_tf.experiments.columns import Column, OverSeeds, Score, gather, margin, over_seeds
from flexae_tf.experiments.columns import pooled_sd as pooled


def score(value, **changes):
    fields = dict(method='vae', dataset='mnist', latent_dim=32, seed=0, kind='gen', stem='fd')
    fields |= dict(metric='fid10k_gen', protocol='0123abcd', value=value)
    return Score(**fields | changes)


def test_mean_and_deviation_over_seeds():
    assert over_seeds([1.0, 3.0, 5.0]) == OverSeeds(3.0, 2.0, 3)
    assert over_seeds([7.0]) == OverSeeds(7.0, None, 1)


def test_rows_are_methods_and_sizes():
    found = gather(
        [score(1.0), score(3.0, seed=5), score(9.0, latent_dim=20), score(4.0, method='flexae')]
    )
    assert (found.metric, found.protocol) == ('fid10k_gen', '0123abcd')
    assert found.values == {
        ('vae', 32): (2.0, math.sqrt(2.0), 2),
        ('vae', 20): (9.0, None, 1),
        ('flexae', 32): (4.0, None, 1),
    }
    assert gather([]) == Column(None, None, {})


def test_rows_may_be_something_else():
    scores = [score(1.0), score(3.0, seed=1), score(9.0, kind='rec')]
    assert gather(scores, row=lambda s: s.kind).values == {
        'gen': (2.0, math.sqrt(2.0), 2),
        'rec': (9.0, None, 1),
    }
    with pytest.raises(UsageError, match='two values'):
        gather(scores, row=lambda s: s.method)


def test_two_protocols_are_refused_by_name():
    with pytest.raises(UsageError) as error:
        gather([score(1.0), score(2.0, method='flexae', seed=3, protocol='beef0123')])
    assert str(error.value) == (
        'vae on mnist (m=32, seed 0) has fid10k_gen by protocol 0123abcd, flexae on mnist (m=32, '
        'seed 3) fid10k_gen by beef0123: score both by one of them'
    )


def test_a_run_does_not_count_twice():
    with pytest.raises(UsageError, match=r'seed 0\) has two values of fid10k_gen, 1 and 2: '):
        gather([score(1.0), score(2.0)])


@pytest.mark.parametrize(
    'metric, theirs',
    [
        ('fid10k_gen', True),
        ('fid10k_rec', True),
        ('fid10k_gen_min', True),  # the authors choose the checkpoint by it
        ('prd_recall10k_gen', True),
        ('fid5000_gen', False),
        ('fid10k_gen_foreign', False),
        ('fd_mixed_7_10k_gen', False),
        ('fd_pixels_10k_gen', False),
        ('prd_precision_mixed_7_10k_gen', False),
        (None, False),
    ],
)
def test_what_the_paper_reports_is_known_by_its_name(metric, theirs):
    assert Column(metric, '0123abcd', {}).is_papers is theirs


def test_pooled_deviation_weighs_by_degrees_of_freedom():
    # variances 4 (of three seeds) and 1 (of two): (2 * 4 + 1 * 1) / 3
    rows = [OverSeeds(9.0, 2.0, 3), OverSeeds(5.0, 1.0, 2), OverSeeds(1.0, None, 1)]
    assert pooled(rows) == pytest.approx(math.sqrt(3.0))
    assert pooled(rows[2:]) is None and pooled([]) is None


def test_margin_is_two_standard_errors_of_the_difference():
    three, two, one = OverSeeds(0.0, 3.0, 3), OverSeeds(0.0, 2.0, 2), OverSeeds(0.0, None, 1)
    assert margin(three, two, pooled=99.0) == pytest.approx(2.0 * math.sqrt(3.0 + 2.0))
    assert margin(three, one, pooled=1.0) == margin(one, three, pooled=1.0) == pytest.approx(4.0)
    assert margin(one, one, pooled=None) == 0.0
