"""The table of metrics."""

import numpy as np
import pytest

from flexae_tf.errors import UsageError
from flexae_tf.metrics import latent, table
from flexae_tf.metrics.frechet import moments
from flexae_tf.metrics.table import (
    METRICS,
    Features,
    Metric,
    find,
    select,
    select_of_codes,
    select_of_pairs,
    select_of_training_distances,
)

OUTSIDE = """
from flexae_tf.metrics.table import METRICS, Metric, MetricResult

def _gap(reference, scored):
    return MetricResult({'mean_gap': float(abs(reference.rows.mean() - scored.rows.mean()))})

GAP = Metric('mean_gap', 'mean_gap_v1', 2, _gap)
CLASH = Metric('mean_gap', METRICS['fd'].estimator, 2, _gap)
TEXT = 'no metric'
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The name of a module with metrics outside the package."""
    (tmp_path / 'outside_metrics.py').write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    return 'outside_metrics'


def names(metrics):
    return [metric.name for metric in metrics]


def test_find_returns_every_row():
    for name, metric in METRICS.items():
        assert find(name) is metric and metric.name == name


def test_find_lists_names_of_unknown_metric():
    with pytest.raises(UsageError, match='--metrics=fid: .*fd, kid, prd, precision_recall'):
        find('fid')


def test_find_imports_metric_from_outside(outside):
    metric = find(f'{outside}:GAP')
    features = Features(np.ones((3, 2))), Features(np.zeros((3, 2)))
    assert isinstance(metric, Metric)
    assert metric.compute(*features).values == {'mean_gap': 1.0}


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('TEXT', 'not a'),
        ('CLASH', 'estimator'),
        ('ABSENT', 'cannot be imported'),
    ],
)
def test_find_refuses_object_from_outside(outside, name, message):
    with pytest.raises(UsageError, match=f'--metrics={outside}:{name}: .*{message}'):
        find(f'{outside}:{name}')


def test_estimators_differ():
    assert len({metric.estimator for metric in METRICS.values()}) == len(METRICS)


def test_select_returns_what_applies():
    every = ['fd', 'kid', 'prd', 'precision_recall', 'density_coverage', 'fd_infinity']
    assert names(select([], num=100)) == every
    assert names(select([], num=100, has_logits=True)) == [*every, 'inception_score']
    assert names(select([], num=5)) == ['fd', 'kid', 'precision_recall']
    assert names(select([], num=100, moments=True)) == ['fd']
    assert names(select(['prd', 'fd'], num=100)) == ['prd', 'fd']


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('prd', dict(num=19), 'at least 20 examples'),
        ('inception_score', dict(num=100), 'Inception graph of 2015'),
        ('kid', dict(num=100, moments=True), '--metrics=fd'),
    ],
)
def test_select_refuses_metric_that_does_not_apply(name, options, message):
    with pytest.raises(UsageError, match=message):
        select([name], **options)


def test_select_takes_only_named_metrics():
    named = ['fd', 'psnr', 'codes', 'kid']
    assert names(select(named, num=100)) == ['fd', 'kid']
    assert names(select_of_pairs(named, (28, 28, 1))) == ['psnr']
    assert not select(['psnr', 'codes'], num=100) and not select_of_pairs(['fd'], (28, 28, 1))


def test_select_of_pairs_needs_images_that_hold_the_window():
    assert names(select_of_pairs([], (11, 11, 3))) == ['psnr', 'ssim']
    assert names(select_of_pairs([], (10, 28, 1))) == ['psnr']
    assert not select_of_pairs([], (128,))
    for shape in ((10, 28, 1), (128,)):
        with pytest.raises(UsageError, match='--metrics=ssim: needs images .* at least 11'):
            select_of_pairs(['ssim'], shape)


def test_select_of_codes_needs_critic():
    assert names(select_of_codes(['fd'], has_critic=True)) == ['codes', 'critic']
    assert names(select_of_codes([], has_critic=False)) == ['codes']
    assert names(select_of_codes(['transport', 'codes'], has_critic=False)) == [
        'transport',
        'codes',
    ]
    assert names(select_of_codes(['critic', 'fd'], has_critic=True)) == ['critic']
    with pytest.raises(UsageError, match='no critic'):
        select_of_codes(['critic'], has_critic=False)


def test_select_of_training_distances_needs_new_images():
    named, shape = ['fd', 'memorization'], (28, 28, 1)
    assert names(select_of_training_distances(named, shape, split='test')) == ['memorization']
    assert not select_of_training_distances(['fd'], (128,), split='train')
    assert not select_of_training_distances([], shape, split='test')
    with pytest.raises(UsageError, match=r'--metrics=memorization: needs images, not \[128\]'):
        select_of_training_distances(named, (128,), split='test')
    with pytest.raises(UsageError, match='--metrics=memorization: .* Use --split=test'):
        select_of_training_distances(named, shape, split='train')


def test_transport_compares_the_first_codes_of_each_set(monkeypatch):
    monkeypatch.setattr(table, '_TRANSPORTED', 200)
    rng = np.random.default_rng(0)
    z, z_hat = rng.normal(2.0, size=[210, 3]), rng.normal(size=[2 * 210, 3])
    first, second = z_hat[:200], z_hat[210:410]
    values = METRICS['transport'].compute(Features(z), Features(z_hat)).values
    expected = {
        'wasserstein': latent.wasserstein(z[:200], first),
        'wasserstein_floor': latent.wasserstein(first, second),
    }
    expected |= {f'{stem}_scaled': value / latent.scale(z) for stem, value in expected.items()}
    assert values == expected
    assert values['wasserstein'] > 3.0 * values['wasserstein_floor']
    # Fewer codes are all compared; codes of one distribution are at the floor.
    z, z_hat = rng.normal(size=[150, 3]), rng.normal(size=[2 * 150, 3])
    values = METRICS['transport'].compute(Features(z), Features(z_hat)).values
    assert values['wasserstein'] == latent.wasserstein(z, z_hat[:150])
    assert values['wasserstein'] == pytest.approx(values['wasserstein_floor'], rel=0.2)


def test_frechet_accepts_moments():
    rng = np.random.default_rng(0)
    real, fake = (Features(rng.normal(size=[50, 3])) for _ in range(2))
    by_features = METRICS['fd'].compute(real, fake).values['fd']
    assert METRICS['fd'].compute(moments(real.rows), fake).values['fd'] == pytest.approx(
        by_features
    )
