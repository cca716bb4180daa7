"""Means, order and trends, on cases worked out by hand; recorded results."""

import json
import math

import pytest

from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import UsageError
from flexae_tf.experiments import paper, plans, results
from flexae_tf.experiments.results import Mean, over_seeds
from tests.experiments.conftest import replace, scores

PAPER = {'a': 1.0, 'b': 2.0, 'c': 3.0, 'd': 4.0}


def seeds(**values):
    return {row: over_seeds(v if isinstance(v, list) else [v]) for row, v in values.items()}


def counts(found):
    return tuple(len(group) for group in found[:3])


def test_over_seeds_decimals_and_names_by_hand():
    assert over_seeds([1.0, 3.0]) == Mean(2.0, pytest.approx(2**0.5), 2)
    assert over_seeds([4.0]) == Mean(4.0, None, 1)
    assert over_seeds([4.0]).text(2) == '4.00 (1)'
    assert Mean(4.69, 0.123, 3).text(2) == '4.69 ± 0.12 (3)'
    decimals = [results.decimals_for([v]) for v in (123.0, 1.5, 0.206, 0.0206, 0.0)]
    assert decimals == [2, 2, 3, 4, 2]
    # The paper's scores are FID of 10k.
    others = ('fid10k_floor', 'fid5000_gen', 'fd_mixed_7_10k_gen', 'fid10k_gen_unverified')
    known = ('fid10k_gen', 'prd_recall10k_rec')
    assert tuple(filter(results.PAPERS.fullmatch, (*known, *others))) == known


def test_gather_and_floor_take_one_protocol_and_one_value_by_row_and_seed():
    column = results.gather([*scores(1.0, 3.0), *scores(5.0, method='vae')])
    assert column.values == {'flexae': over_seeds([1.0, 3.0]), 'vae': over_seeds([5.0])}
    assert column.metric == 'fd_5000_gen'
    assert results.gather([]) == (None, None, {})
    with pytest.raises(UsageError, match='vae.* has protocol beef0123, flexae.* has'):
        results.gather([*scores(1.0), *scores(1.0, method='vae', protocol='beef0123')])
    with pytest.raises(UsageError, match='two values of fd_5000_gen, 1 and 2'):
        results.gather([*scores(1.0), *scores(2.0)])
    # The floor counts a repeated score once.
    found = scores(0.4, 0.4, 0.8, set_='train')
    column = results.gather(scores(1.0))
    assert results.floor(found, column) == pytest.approx(0.6)
    assert results.floor([], column) is None
    with pytest.raises(UsageError, match='protocol beef0123'):
        results.floor(replace(found[:1], protocol='beef0123'), column)


def test_fill_difference_and_growth_by_hand():
    rows = {'a': Mean(0.0, 1.0, 2), 'b': Mean(0.0, 2.0, 4), 'c': Mean(0.0, None, 1)}
    found = results.fill(rows)
    assert found['c'] == (0.0, pytest.approx(math.sqrt((1.0 + 3 * 4.0) / 4)), 1)
    assert (found['a'], found['b']) == (rows['a'], rows['b'])
    assert results.fill({'c': rows['c']}) == {'c': (0.0, 0.0, 1)}
    one = Mean(1.0, 0.5, 4)
    # 2 sqrt(0.25 / 4 + 0.25) = 1.118; 2 sqrt(0.25 / 4 + 0.01) = 0.539
    far, near = Mean(2.0, 0.5, 1), Mean(2.0, 0.1, 1)
    assert results.difference(one, far) == results.difference(far, one) == 0.0
    assert results.difference(one, near) == 1.0 == -results.difference(near, one)
    ratio = results.growth(Mean(2.0, 0.2, 1), Mean(6.0, 0.3, 1))
    assert ratio.mean == 3.0
    assert ratio.sd == pytest.approx(3.0 * math.sqrt(0.1**2 + 0.05**2))
    assert results.growth(Mean(2.0, 0.0, 1), Mean(6.0, 0.0, 1)) == Mean(3.0, 0.0, 1)


def test_agreement_names_contradicting_pairs_and_leaves_out_missing_rows():
    found = results.agreement(PAPER, seeds(a=0.1, b=0.2, c=0.3, d=70.0))
    assert counts(found) == (6, 0, 0) and found.tau == pytest.approx(1.0)
    ours = seeds(a=1.0, b=3.0, c=2.0, d=4.0)
    found = results.agreement(PAPER, ours)
    assert counts(found) == (5, 1, 0) and found.contradicted == [('c', 'b')]
    assert found.tau == pytest.approx((5 - 1) / 6)
    higher = results.agreement(PAPER, ours, lower_is_better=False)
    assert counts(higher) == (5, 1, 0) and higher.contradicted == [('b', 'c')]
    found = results.agreement(PAPER, seeds(a=1.0, d=2.0, other=0.5))
    assert found.kept == [('a', 'd')] and counts(found) == (1, 0, 0)
    single = results.agreement(PAPER, seeds(a=1.0, other=0.5))
    assert counts(single) == (0, 0, 0) and single.tau is None
    assert results.agreement(PAPER, {}).tau is None
    found = results.agreement(PAPER, seeds(a=2.0, b=1.999, c=5.0, d=5.0))
    assert counts(found) == (4, 1, 1)
    assert found.tau == pytest.approx(3 / 30**0.5)  # tau-b: one of our pairs is a tie
    assert results.agreement(PAPER, seeds(a=1.0, b=1.0)).tau is None


def test_agreement_is_undecided_within_two_standard_errors():
    # Both have sd 1 and n = 2: the standard error of the difference is 1, so the margin is 2.
    near = {'a': Mean(5.0, 1.0, 2), 'b': Mean(3.0, 1.0, 2)}
    assert counts(results.agreement(PAPER, near)) == (0, 0, 1)
    assert counts(results.agreement(PAPER, near | {'a': Mean(5.01, 1.0, 2)})) == (0, 1, 0)
    # Pooled sd 1: the margin of two rows of one seed is 2 sqrt(2) = 2.83.
    ours = {'a': Mean(0.0, 1.0, 2)} | seeds(b=10.0, c=7.2, d=12.84)
    assert counts(results.agreement(PAPER, ours)) == (5, 0, 1)


@pytest.mark.parametrize('gap, undecided', [(0.0, 1), (0.58, 1), (0.59, 1), (0.60, 0)])
def test_agreement_is_undecided_within_the_papers_spread(gap, undecided):
    published = {'a': 4.69, 'b': 4.69 + gap}
    found = results.agreement(published, seeds(a=9.0, b=1.0), spread=0.59)
    assert counts(found) == (0, 1 - undecided, undecided)


ORDER = paper.Order('text', (('a', 'b'), ('a', 'c')))
LABELS = {'a': 'A', 'b': 'B', 'c': 'C'}


@pytest.mark.parametrize(
    'values, outcome, words',
    [
        (dict(a=1.0, b=2.0, c=3.0), results.SUPPORTED, '2 of 2 pairs lower'),
        (dict(a=2.0, b=1.0, c=3.0), results.NOT_SUPPORTED, '1 higher (A vs B)'),
        (dict(a=2.0, b=2.0, c=3.0), results.INCONCLUSIVE, '1 undecided (A vs B)'),
        (dict(a=1.0, b=2.0), results.INCONCLUSIVE, '1 not run'),
        (dict(a=3.0, b=2.0), results.NOT_SUPPORTED, '1 not run'),
        (dict(b=2.0, c=3.0), results.NOT_RUN, ''),
    ],
)
def test_judge_order_outcomes(values, outcome, words):
    claim = results.judge_order(ORDER, seeds(**values), LABELS)
    assert claim.outcome == outcome and words in claim.ours and claim.p is None


@pytest.mark.parametrize(
    'values, direction, outcome, steps',
    [
        ((1.0, 2.0, 4.0), 'rises', results.SUPPORTED, ', at every step'),
        ((4.0, 2.0, 3.0), 'falls', results.SUPPORTED, 'not at every step'),
        ((4.0, 2.0, 3.0), 'rises', results.NOT_SUPPORTED, 'not at every step'),
        ((3.0, 3.0, 6.0), 'rises', results.SUPPORTED, 'not at every step'),
        ((2.0, 6.0, 2.0), 'falls', results.INCONCLUSIVE, 'max/min 3.00'),
        ((2.0, 2.8, 2.0), 'constant', results.SUPPORTED, 'max/min 1.40'),
        ((2.0, 2.9, 2.0), 'constant', results.NOT_SUPPORTED, 'max/min 1.45'),
        ((2.0, 2.9), 'falls', results.NOT_RUN, ''),
    ],
)
def test_judge_trend_outcomes(values, direction, outcome, steps):
    claim = paper.Trend('text', '', (1, 2, 3), direction)
    column = {i: over_seeds([value]) for i, value in enumerate(values, 1)}
    found = results.judge_trend(claim, column, published=(3.0, 2.0, 1.5), constant=1.4)
    assert found.outcome == outcome and steps in found.ours
    assert found.paper == '3.00 → 2.00 → 1.50 (max/min 2.00)'


def test_judge_trend_of_near_ends_and_judge_order_of_one_pair():
    claim = paper.Trend('text', '', (1, 2), 'rises')
    near = {1: Mean(10.0, 1.0, 2), 2: Mean(12.0, 1.0, 2)}  # two standard errors: 2
    assert results.judge_trend(claim, near).outcome == results.INCONCLUSIVE
    far = near | {2: Mean(12.1, 1.0, 2)}
    assert results.judge_trend(claim, far).outcome == results.SUPPORTED
    ours = seeds(a=[1.0, 2.0, 3.0], b=[4.0, 5.0, 6.0])
    claim = results.judge_order(paper.Order('text', (('a', 'b'),)), ours, LABELS)
    assert claim.ours == '2.00 ± 1.00 (3) vs 5.00 ± 1.00 (3)'
    # t = 3 / sqrt(2 / 3) = 3.674 with 4 degrees of freedom
    assert claim.p == pytest.approx(0.02131, rel=1e-3)


def jobs(artifact='table1', **options):
    fixed = dict(scale='small', output_dir='x', feature_layer='mixed_7')
    return plans.plan(ReproduceConfig(artifact=artifact, **fixed | options))


def test_recorded_results_of_the_package_cover_its_artifacts():
    for artifact in ('table1', 'table3', 'fig5', 'joint', 'methods', 'fig2', 'fig3', 'theorem2'):
        vectors = artifact in ('fig2', 'fig3', 'theorem2')
        planned = jobs(artifact, feature_layer='pool_3' if vectors else 'mixed_7')
        assert set(results.recorded(planned)) == {job.name for job in planned}, artifact
    assert not results.recorded(jobs('fig4'))  # images are not recorded as scores


def test_recorded_results_of_other_options_do_not_match(tmp_path):
    for options in (dict(num_examples=77), dict(features='pixels'), dict(seed=9)):
        assert not results.recorded(jobs(**options)), options
    job = jobs(methods='vae')[0]
    runs = results.read()
    info, lines = runs[job.name]
    path = tmp_path / 'scores.jsonl'
    results.write_recorded(path, {job.name: (info, lines)})
    assert set(results.recorded([job], path)) == {job.name}
    changed = info | {'options': info['options'] | {'kl_weight': 0.7}}
    results.write_recorded(path, {job.name: (changed, lines)})
    assert not results.recorded([job], path)


def test_recorded_results_are_read_as_written_and_have_their_origin(tmp_path):
    runs, path = results.read(), tmp_path / 'scores.jsonl'
    results.write_recorded(path, runs)
    assert path.read_text() == results.RECORDED.read_text()
    assert results.read(path) == runs
    for info, lines in runs.values():
        assert info['machine'] and info['environment']['tensorflow'] and info['checkpoint']
        fields = [line['fields'] for line in lines if 'complete' not in line]
        assert {found['dataset'] for found in fields} == {info['dataset']} and json.dumps(fields)
