"""How fast a training would run."""

import json

import tensorflow as tf

from flexae_tf import benchmark
from flexae_tf.config import BenchmarkConfig
from flexae_tf.experiments.plans import method_config
from flexae_tf.methods import AUTOENCODERS
from tests.evaluation.test_inception import TinyInception


def test_methods_take_turns(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, 'AUTOENCODERS', ('flexae', 'ae_gmm'))
    options = dict(subject='methods', dataset='synthetic_5d', iterations=3, warmup=1, batch_size=8)
    benchmark.benchmark(BenchmarkConfig(**options))
    found = json.loads(capsys.readouterr().out)
    assert set(found['seconds']) == {'flexae', 'ae_gmm'} and found['batch_size'] == 8
    assert found['over_flexae']['flexae'] == 1.0 > found['over_flexae']['ae_gmm'] > 0.0


def test_the_network_of_the_scores(monkeypatch, capsys, tmp_path):
    tf.saved_model.save(TinyInception(), str(tmp_path))
    monkeypatch.setattr(benchmark, 'NETWORK_BATCH', 4)
    options = dict(subject='network', inception_path=str(tmp_path))
    benchmark.benchmark(BenchmarkConfig(**options))
    assert json.loads(capsys.readouterr().out)['images_per_second'] > 0.0


def test_every_method_has_numbers_on_every_data_set():
    for method in AUTOENCODERS:
        for dataset in ('mnist', 'celeba', 'synthetic_2d', 'synthetic_5d'):
            config = method_config(method, dataset, width_multiplier=0.5)
            assert (config.method, config.dataset) == (method, dataset)
            assert config.width_multiplier == 0.5
