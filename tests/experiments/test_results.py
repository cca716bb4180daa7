"""Columns of scores, orders and trends on cases worked out by hand; recorded results."""

import json

import pytest

from flexae_tf.config import ReproduceConfig
from flexae_tf.errors import UsageError
from flexae_tf.evaluation import score_log
from flexae_tf.experiments import paper, plans, results
from flexae_tf.metrics.comparison import over_seeds, welch
from tests.experiments.conftest import replace, scores
from tests.metrics.test_comparison import near, seeds


def test_papers_scores_are_fid_of_10k():
    others = ('fid10k_floor', 'fid5000_gen', 'fd_mixed_7_10k_gen', 'fid10k_gen_unverified')
    known = ('fid10k_gen', 'prd_recall10k_rec')
    assert tuple(filter(results.PAPERS.fullmatch, (*known, *others))) == known


def test_gather_and_floor_take_one_protocol_and_one_value_by_row_and_seed():
    column = results.gather([*scores(1.0, 3.0), *scores(5.0, method='vae')])
    assert column.values == {'flexae': over_seeds([1.0, 3.0]), 'vae': over_seeds([5.0])}
    assert column.metric == 'fd_5000_gen'
    assert column.fields['num'] == 5000 and results.gather([]) == (None, None, {}, None)
    with pytest.raises(UsageError, match='vae.* has protocol beef0123, flexae.* has'):
        results.gather([*scores(1.0), *scores(1.0, method='vae', protocol='beef0123')])
    other = scores(1.0, method='vae', protocol='x', fields=column.fields | {'num': 4000})
    with pytest.raises(UsageError, match=r'\(different: num\)'):
        results.gather([*scores(1.0), *other])
    with pytest.raises(UsageError, match='two values of fd_5000_gen, 1 and 2'):
        results.gather([*scores(1.0), *scores(2.0)])
    # The floor counts a repeated score once.
    found = scores(0.4, 0.4, 0.8, set_='train')
    column = results.gather(scores(1.0))
    assert results.floor(found, column) == pytest.approx(0.6)
    assert results.floor([], column) is None
    with pytest.raises(UsageError, match='protocol beef0123'):
        results.floor(replace(found[:1], protocol='beef0123'), column)


ORDER = paper.Order('text', (('a', 'b'), ('a', 'c')))
LABELS = {'a': 'A', 'b': 'B', 'c': 'C'}


@pytest.mark.parametrize(
    'values, outcome, words',
    [
        (near(a=1.0, b=2.0, c=3.0), results.SUPPORTED, '2 of 2 pairs lower'),
        (near(a=2.0, b=1.0, c=3.0), results.NOT_SUPPORTED, '1 higher (A vs B)'),
        (near(a=2.0, b=2.0, c=3.0), results.INCONCLUSIVE, '1 undecided (A vs B)'),
        (near(a=1.0, b=2.0), results.INCONCLUSIVE, '1 not run'),
        (near(a=3.0, b=2.0), results.NOT_SUPPORTED, '1 not run'),
        (near(b=2.0, c=3.0), results.NOT_RUN, ''),
        (near(a=1.0, b=2.0) | seeds(c=3.0), results.INCONCLUSIVE, '1 with one seed'),
        (seeds(a=1.0, b=2.0, c=3.0), results.INCONCLUSIVE, '0 of 2 pairs lower, 2 with one seed'),
    ],
)
def test_judge_order_outcomes(values, outcome, words):
    claim = results.judge_order(ORDER, values, LABELS)
    assert claim.outcome == outcome and words in claim.ours


def test_judge_order_shows_the_least_certain_ratio():
    ours = near(a=1.0, b=2.0) | seeds(c=[1.0, 2.0, 6.0])
    claim = results.judge_order(ORDER, ours, LABELS)
    assert claim.ratio == welch([ours['a']], [ours['c']]) and claim.outcome == results.INCONCLUSIVE
    ours = seeds(a=[1.0, 2.0, 3.0], b=[4.0, 5.0, 6.0])
    claim = results.judge_order(paper.Order('text', (('a', 'b'),)), ours, LABELS)
    assert claim.ours == '2.00 ± 1.00 (3) vs 5.00 ± 1.00 (3)'
    assert claim.ratio == welch([ours['a']], [ours['b']])


@pytest.mark.parametrize(
    'values, direction, outcome, steps',
    [
        ((1.0, 2.0, 4.0), 'rises', results.SUPPORTED, ', at every step'),
        ((4.0, 2.0, 3.0), 'falls', results.SUPPORTED, 'not at every step'),
        ((4.0, 2.0, 3.0), 'rises', results.NOT_SUPPORTED, 'not at every step'),
        ((3.0, 3.0, 6.0), 'rises', results.SUPPORTED, 'not at every step'),
        ((2.0, 6.0, 2.0), 'falls', results.INCONCLUSIVE, 'max/min 3.00'),
        ((2.0, 2.6, 2.0), 'constant', results.SUPPORTED, 'max/min 1.30'),
        ((2.0, 2.8, 2.0), 'constant', results.INCONCLUSIVE, 'max/min 1.40'),
        ((2.0, 3.2, 2.0), 'constant', results.NOT_SUPPORTED, 'max/min 1.60'),
        ((2.0, 2.9), 'falls', results.NOT_RUN, ''),
    ],
)
def test_judge_trend_outcomes(values, direction, outcome, steps):
    claim = paper.Trend('text', '', (1, 2, 3), direction)
    rows = {f'{i}': value for i, value in enumerate(values, 1)}
    column = {int(row): mean for row, mean in near(**rows).items()}
    found = results.judge_trend(claim, column, published=(3.0, 2.0, 1.5), constant=1.4)
    assert found.outcome == outcome and steps in found.ours
    assert found.paper == '3.00 → 2.00 → 1.50 (max/min 2.00)'
    if found.outcome != results.NOT_RUN:
        single = {row: over_seeds(mean.values[:1]) for row, mean in column.items()}
        found = results.judge_trend(claim, single, constant=1.4)
        assert found.outcome == results.INCONCLUSIVE and found.ours.endswith(', one seed')


def test_judge_floor_outcomes():
    claim = paper.Order('text', ('a', 'b'))
    floors = near(a=1.0, b=1.0)
    for values, outcome in (
        (near(a=1.1, b=1.2), results.SUPPORTED),
        (near(a=1.1, b=3.0), results.NOT_SUPPORTED),
        (near(a=1.1, b=1.5), results.INCONCLUSIVE),
        (near(a=1.1), results.INCONCLUSIVE),
        (seeds(a=9.0, b=9.0), results.INCONCLUSIVE),
        ({}, results.NOT_RUN),
    ):
        found = results.judge_floor(claim, values, floors, 1.5)
        assert found.outcome == outcome, values
    # The largest ratio is known well, the smaller one is not.
    wide = near(a=1.2) | seeds(b=[0.5, 1.1, 2.4])
    assert results.judge_floor(claim, wide, floors, 1.5).outcome == results.INCONCLUSIVE
    found = results.judge_floor(claim, near(a=1.1, b=3.0), floors, 1.5)
    assert found.ours == '1.1 → 3.0 times the floor' and found.ratio.value == pytest.approx(3.0)


def jobs(artifact='table1', **options):
    fixed = dict(scale='small', output_dir='x', feature_layer='mixed_7')
    return plans.plan(ReproduceConfig(artifact=artifact, **fixed | options))


# With the options of their flagfiles.
_NOT_TRAINED = {'vae_vampprior', 'vae_iop', 'vae_flow_prior'}
_ONE_SEED = {'vae_flow', 'injflow', 'mask_aae'}
INCOMPLETE = {'table1': _NOT_TRAINED | _ONE_SEED, 'methods': _NOT_TRAINED}


def test_recorded_results_cover_the_artifacts_but_not_other_options(tmp_path):
    images, vectors = ('table1', 'table3', 'fig5', 'joint', 'methods'), ('fig2', 'fig3', 'theorem2')
    for artifact in (*images, *vectors):
        planned = jobs(artifact, feature_layer='mixed_7' if artifact in images else 'pool_3')
        known = results.recorded(planned)
        missing = [job for job in planned if job.name not in known]
        models = {paper.model_of(job.config.method, job.options) for job in missing}
        assert models == INCOMPLETE.get(artifact, set()) and len(known) > 5, artifact
    assert not results.recorded(jobs('fig4'))  # images are not recorded as scores
    for options in (
        dict(num_examples=77),
        dict(features='pixels', feature_layer=None),
        dict(seed=9),
    ):
        assert not results.recorded(jobs(**options)), options
    job = jobs(methods='vae')[0]
    runs = score_log.read_runs(results.RECORDED)
    info, lines = runs[job.name]
    path = tmp_path / 'scores.jsonl'
    score_log.write_runs(path, {job.name: (info, lines)})
    assert set(results.recorded([job], path)) == {job.name}
    changed = info | {'options': info['options'] | {'kl_weight': 0.7}}
    score_log.write_runs(path, {job.name: (changed, lines)})
    assert not results.recorded([job], path)


def test_recorded_results_are_read_as_written_and_have_their_origin(tmp_path):
    runs, path = score_log.read_runs(results.RECORDED), tmp_path / 'scores.jsonl'
    score_log.write_runs(path, runs)
    assert path.read_text() == results.RECORDED.read_text()
    assert score_log.read_runs(path) == runs
    for info, lines in runs.values():
        assert info['machine'] and info['environment']['tensorflow'] and info['checkpoint']
        fields = [line['fields'] for line in lines if 'complete' not in line]
        assert {found['dataset'] for found in fields} == {info['dataset']} and json.dumps(fields)
