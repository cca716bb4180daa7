import json

import pytest
import tensorflow as tf

from flexae_tf import benchmark
from flexae_tf.config import BenchmarkConfig, TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.config.train import training_flagfiles
from flexae_tf.methods import AUTOENCODERS
from flexae_tf.metrics.table import METRICS
from tests.evaluation.networks import TinyInception


@pytest.fixture
def report(capsys):
    """`report(**options)`: runs the program and returns what it prints."""

    def run(**options):
        benchmark.benchmark(BenchmarkConfig(**options))
        return json.loads(capsys.readouterr().out)

    return run


def test_benchmark_measures_a_training(report):
    found = report(dataset='synthetic_2d', iterations=2, warmup=1, batch_size=8, critic_steps=1)
    assert len(found['seconds_per_iteration']) == 2 and found['method'] == 'flexae'
    for name in ('first_call_seconds', 'median', 'images_per_second', 'pipeline_images_per_second'):
        assert found[name] > 0.0


def test_benchmark_measures_methods_in_turns(report, monkeypatch):
    monkeypatch.setattr(benchmark, 'AUTOENCODERS', ('flexae', 'ae_gmm'))
    options = dict(subject='methods', dataset='synthetic_5d', iterations=3, warmup=1, batch_size=8)
    found = report(**options)
    assert set(found['seconds']) == {'flexae', 'ae_gmm'} and found['batch_size'] == 8
    assert found['over_flexae']['flexae'] == 1.0 > found['over_flexae']['ae_gmm'] > 0.0
    assert found['checkpoint_bytes']['flexae'] > found['snapshot_bytes']['flexae'] > 0


def test_benchmark_with_zero_iterations_reports_sizes(report, monkeypatch):
    monkeypatch.setattr(benchmark, 'AUTOENCODERS', ('flexae',))
    found = report(subject='methods', dataset='synthetic_5d', iterations=0, batch_size=8)
    assert 'seconds' not in found and found['snapshot_bytes']['flexae'] > 0


def test_benchmark_measures_the_network(report, monkeypatch, tmp_path):
    tf.saved_model.save(TinyInception(), str(tmp_path))
    monkeypatch.setattr(benchmark, 'NETWORK_BATCH', 4)
    found = report(subject='network', inception_path=str(tmp_path))
    assert found['images_per_second'] > 0.0


def test_benchmark_measures_metrics(report, monkeypatch):
    monkeypatch.setattr(benchmark, 'EXAMPLES', 300)
    names = ('prd', 'precision_recall', 'ssim', 'codes')
    monkeypatch.setattr(benchmark, 'METRICS', {name: METRICS[name] for name in names})
    found = report(subject='metrics')
    assert set(found['seconds']) == {'prd', 'precision_recall', 'ssim'}  # not metrics of codes
    assert found['peak_memory_gb'] > 0.0


@pytest.mark.parametrize('dataset', ['mnist', 'celeba', 'synthetic_2d', 'synthetic_5d'])
@pytest.mark.parametrize('method', AUTOENCODERS)
def test_training_flagfiles_configure_every_method_on_every_data_set(method, dataset):
    flags = [f'--flagfile={path}' for path in training_flagfiles(method, dataset)]
    config = from_arguments(TrainConfig, [*flags, '--width_multiplier=0.5'])
    assert (config.method, config.dataset) == (method, dataset)
    assert config.width_multiplier == 0.5


def test_training_flagfiles_of_an_outside_method_name_the_data_set_only():
    assert training_flagfiles('package.module:Class', 'mnist') == ['datasets/mnist.flags']
