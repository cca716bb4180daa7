"""Trainings until something is learned."""

import numpy as np
import sklearn.svm

import flexae_tf
from flexae_tf import data
from flexae_tf.checked_files import read_jsonl
from flexae_tf.config import TrainConfig
from tests.conftest import ROOT


def test_flexae_samples_synthetic_data_almost_like_reconstructions(program, tmp_path):
    # Fig. 3 at full size.
    files = ['methods/flexae', 'datasets/synthetic_2d']
    flags = [f'--flagfile={ROOT}/flags/{name}.flags' for name in files]
    done = program('train', *flags, f'--workdir={tmp_path}/run', timeout=3600)
    assert done.returncode == 0, done.stderr
    assert program('evaluate', f'--workdir={tmp_path}/run').returncode == 0
    records = read_jsonl(tmp_path / 'run' / 'scores.jsonl')
    scores = {r['metric']: r['value'] for r in records if 'metric' in r}
    assert scores['fd_vectors_10k_gen'] <= 1.5 * scores['fd_vectors_10k_rec']


def test_quickstart_samples_are_recognizable_digits(program, tmp_path):
    # A classifier of real digits is confident in most samples and finds every digit among them.
    flags = ['--flagfile=flags/quickstart.flags', f'--workdir={tmp_path}/run']
    done = program('train', *flags, timeout=3600)
    assert done.returncode == 0, done.stderr
    dataset = data.load(TrainConfig(dataset='digits', batch_size=2))

    def rows(images):
        return np.reshape(images, [len(images), -1]) / 255.0

    classifier = sklearn.svm.SVC(C=10.0, probability=True, random_state=0)
    classifier.fit(rows(dataset.train.x), dataset.train.labels)
    assert classifier.score(rows(dataset.test.x), dataset.test.labels) > 0.97
    samples = flexae_tf.load_run(tmp_path / 'run').sample(1000, seed=1).numpy() * 255.0
    confidence = classifier.predict_proba(rows(samples))
    # Measured: 0.96 of real digits, 0.65 of samples, 0.31 of samples from codes with shuffled
    # coordinates.
    assert np.mean(confidence.max(axis=1) > 0.7) > 0.55
    shares = np.bincount(confidence.argmax(axis=1), minlength=10) / len(samples)
    assert shares.min() > 0.02 and shares.max() < 0.3
