"""The evaluation program on real, if tiny, runs."""

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.config import EvaluateConfig
from flexae_tf.metrics.evaluate import evaluate
from flexae_tf.metrics.frechet import frechet_distance
from flexae_tf.training.trainer import Trainer
from flexae_tf.training.workdir import read_jsonl
from tests.metrics.test_inception import TinyInception


@pytest.fixture
def run(config, synthetic, tmp_path):
    trainer = Trainer(config(workdir=str(tmp_path / 'run')), synthetic)
    trainer.train()
    return tmp_path / 'run', trainer.method


def score(run, **options):
    evaluate(EvaluateConfig(workdir=str(run), **options))
    return {record['metric']: record for record in read_jsonl(run / 'scores.jsonl')}


def test_scores_of_vectors_are_those_of_their_definition(run, synthetic):
    folder, method = run
    scores = score(folder)
    assert set(scores) == {f'fd_vectors_10k_{kind}' for kind in ('rec', 'gen', 'floor')}
    x = synthetic.test.x
    expected = {
        'rec': method.reconstruct(x),
        'gen': method.sample(10_000, seed=0),
        'floor': synthetic.train.x[:10_000],  # the order of a set has no say in its moments
    }
    for kind, fake in expected.items():
        value = scores[f'fd_vectors_10k_{kind}']['value']
        assert value == pytest.approx(frechet_distance(x, np.asarray(fake)), rel=1e-3)
    record = scores['fd_vectors_10k_gen']
    assert record['n'] == 10_000 and record['split'] == 'test' and record['step'] == 10
    assert len(record['protocol']) == 8 and len(record['checkpoint']) == 12


def test_the_same_score_twice_and_another_id_for_another_number(run):
    folder, _ = run
    first = score(folder, num_examples=500)['fd_vectors_500_gen']
    again = score(folder, num_examples=500)['fd_vectors_500_gen']
    fewer = score(folder, num_examples=400)['fd_vectors_400_gen']
    assert first['value'] == again['value'] and first['protocol'] == again['protocol']
    assert fewer['protocol'] != first['protocol']


def test_networks_are_for_images(refused, run):
    folder, _ = run
    flags = [f'--workdir={folder}', '--features=inception', '--inception_path=nowhere']
    refused(2, ['vectors', '--features=pixels'], 'evaluate', *flags)


def test_no_run_there(refused, tmp_path):
    refused(3, ['holds no run'], 'evaluate', f'--workdir={tmp_path}')


def test_images_are_scored_by_a_network_and_never_called_fid(config, tmp_path, refused):
    images = data.load(config(dataset='digits', validation_examples=20))
    options = dict(dataset='digits', width_multiplier=0.05, batch_size=4, training_steps=1)
    options |= dict(validation_examples=20, workdir=str(tmp_path / 'run'))
    Trainer(config(**options), images).train()
    tf.saved_model.save(TinyInception(), str(tmp_path / 'network'))
    network = dict(features='inception', inception_path=str(tmp_path / 'network'))
    scores = score(tmp_path / 'run', num_examples=6, feature_layer='pool_3', **network)
    assert set(scores) == {f'fd_pool_3_6_{kind}' for kind in ('rec', 'gen', 'floor')}
    assert all(record['n'] == 6 and record['value'] >= 0 for record in scores.values())
    other = score(tmp_path / 'run', num_examples=6)  # pixels
    assert other['fd_pixels_6_gen']['protocol'] != scores['fd_pool_3_6_gen']['protocol']
    flags = [f'--workdir={tmp_path}/run', '--features=inception', f'--inception_path={tmp_path}/no']
    refused(3, ['--inception_path'], 'evaluate', *flags)
