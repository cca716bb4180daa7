"""Where scores go as something grows."""

import math

import pytest

from flexae_tf.experiments import paper
from flexae_tf.experiments.columns import OverSeeds, over_seeds
from flexae_tf.experiments.exhibits.tables import CONSTANT
from flexae_tf.experiments.exhibits.trends import FALLS, RISES, STAYS, Trend, trend


def single(*values):
    return [over_seeds([value]) for value in values]


def test_direction_steps_and_factor():
    assert trend(single(1.0, 2.0, 4.0)) == Trend(RISES, True, 4.0)
    assert trend(single(4.0, 2.0, 3.0)) == Trend(FALLS, False, 2.0)
    assert trend(single(3.0, 3.0, 6.0)) == Trend(RISES, False, 2.0)
    assert trend(single(2.0, 6.0, 2.0)) == Trend(STAYS, False, 3.0)
    assert trend(single(0.0, 6.0)) == Trend(RISES, True, math.inf)


def test_ends_have_to_differ_by_more_than_chance():
    assert trend(single(4.0, 5.0, 4.5), spread=0.5).direction == STAYS
    assert trend(single(4.0, 5.0, 4.6), spread=0.5).direction == RISES
    # one seed each of deviation 1: 2 sqrt(2)
    assert trend(single(10.0, 12.8), pooled=1.0).direction == STAYS
    assert trend(single(10.0, 12.9), pooled=1.0).direction == RISES
    ends = [OverSeeds(10.0, 1.0, 2), OverSeeds(12.1, 1.0, 2)]  # their own: 2
    assert trend(ends, pooled=9.0).direction == RISES


def test_claims():
    rises, level = Trend(RISES, False, 1.3), Trend(STAYS, False, 1.5)
    assert rises.agrees(RISES, constant=1.4) is True
    assert rises.agrees(FALLS, constant=1.4) is False
    assert rises.agrees(STAYS, constant=1.4) is True  # as the paper means it: by its factor
    assert level.agrees(STAYS, constant=1.4) is False
    assert level.agrees(RISES, constant=1.4) is None
    assert rises.text(FALLS) == 'rises but not at every step (largest over smallest 1.30)'
    assert level.text(RISES).startswith('has ends that differ by no more than chance (largest over')
    assert level.text(STAYS) == 'stays within 50 %'


def test_what_the_paper_calls_almost_constant():
    assert pytest.approx(5.99 / 4.22) == CONSTANT


@pytest.mark.parametrize('dataset', paper.BASE_LATENT_DIMS)
@pytest.mark.parametrize('method, kind', paper.CLAIMS)
def test_the_papers_claims_hold_for_its_own_numbers(dataset, method, kind):
    values = [getattr(row[dataset][method], kind) for row in paper.TABLE_3.values()]
    found = trend(single(*values), spread=paper.SPREAD)
    assert found.agrees(paper.CLAIMS[method, kind], constant=CONSTANT)
