"""Scores of runs whose samples or codes are random given the run."""

import numpy as np
import pytest

from flexae_tf.checked_files import read_jsonl
from flexae_tf.config import EvaluateConfig
from flexae_tf.data import Purpose, fixed_permutation
from flexae_tf.errors import MissingDataError
from flexae_tf.evaluation.evaluate import evaluate
from flexae_tf.methods.posterior_samples import sample_codes
from flexae_tf.metrics import latent
from flexae_tf.training.run_log import PrintLog
from flexae_tf.training.summaries import MONITORED, Summaries


def test_scores_record_their_density(run):
    folder = str(run.workdir.path)
    options = dict(workdir=folder, metrics='fd', num_examples=200, sets='samples')
    evaluate(EvaluateConfig(**options))
    with pytest.raises(MissingDataError, match='bin/fit.py .*--density=gaussian_mixture'):
        evaluate(EvaluateConfig(**options, density='gaussian_mixture'))
    evaluate(EvaluateConfig(**options, density='gaussian_mixture', fit_missing=True))
    evaluate(EvaluateConfig(**options, density='gaussian_mixture'))
    records = [r for r in read_jsonl(run.workdir.scores) if 'stem' in r]
    assert [bool(r['density']) for r in records] == [False, True]
    assert records[0]['metric'] == records[1]['metric']
    assert records[0]['protocol'] == records[1]['protocol']
    assert records[0]['value'] != records[1]['value']


def test_scores_of_codes_use_posterior_samples(run, dataset):
    # The prior should match the distribution of posterior samples, not of posterior means.
    folder = str(run.workdir.path)
    evaluate(EvaluateConfig(workdir=folder, num_examples=200, sets='latents'))
    scores = {r['stem']: r for r in read_jsonl(run.workdir.scores) if 'stem' in r}
    x = dataset.test.x[fixed_permutation(len(dataset.test), Purpose.EVALUATION)[:200]]
    expected = latent.scale(sample_codes(run.method, x, seed=0))
    assert scores['z_scale']['value'] == pytest.approx(expected, rel=1e-5)
    assert expected > 1.01 * latent.scale(np.asarray(run.method.encode(x)))
    assert {r['fields']['features'] for r in scores.values()} == {'posterior_samples'}
    assert scores['z_scale']['metric'] == 'z_scale_200_codes'


def test_latent_statistics_of_a_training_use_posterior_samples(run, dataset):
    found = Summaries(run.method, dataset, PrintLog()).sample(0)
    codes = sample_codes(run.method, dataset.validation.x[:MONITORED], seed=0)
    assert found['latent/z_scale'] == pytest.approx(latent.scale(codes), rel=1e-5)
