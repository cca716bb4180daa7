"""Runs on vectors and images, and their evaluation."""

import shutil

import pytest
import tensorflow as tf

from flexae_tf import data
from flexae_tf.checked_files import read_jsonl
from flexae_tf.config import EvaluateConfig, TrainConfig
from flexae_tf.evaluation.evaluate import evaluate
from flexae_tf.methods import resolve
from flexae_tf.training.trainer import Trainer
from tests.conftest import shorten_networks
from tests.evaluation.networks import TinyInception


@pytest.fixture(scope='package')
def tiny(tmp_path_factory):
    """The folder of a tiny network with the interface of Inception; read only."""
    folder = str(tmp_path_factory.mktemp('networks') / 'tiny')
    tf.saved_model.save(TinyInception(), folder)
    return folder


@pytest.fixture(scope='package')
def vectors(tmp_path_factory):
    """The folder of a run on vectors, and its method."""
    folder = tmp_path_factory.mktemp('vectors') / 'run'
    options = dict(dataset='synthetic_2d', batch_size=16, critic_steps=1, validation_examples=200)
    options |= dict(
        training_steps=10, save_every_steps=3, snapshot_every_steps=5, sample_every_steps=5
    )
    run_config = TrainConfig(**options, workdir=str(folder))
    dataset = data.load(run_config)
    trainer = Trainer(resolve(run_config, dataset.spec), dataset)
    trainer.train()
    return folder, trainer.method


@pytest.fixture
def run(vectors, tmp_path):
    """A copy of the run on vectors, and its method."""
    folder, method = vectors
    shutil.copytree(folder, tmp_path / 'run')
    return tmp_path / 'run', method


@pytest.fixture(scope='package', autouse=True)
def all_networks_are_short():
    """Shortens the networks of runs on images."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        shorten_networks(monkeypatch)
        yield


@pytest.fixture(scope='package')
def trained(tmp_path_factory, all_networks_are_short):
    """The folder of a run on digits with three snapshots, and of a network; read only."""
    folder = tmp_path_factory.mktemp('trained')
    options = dict(dataset='digits', batch_size=8, critic_steps=1)
    options |= dict(validation_examples=40, snapshot_every_steps=4, save_every_steps=12)
    options |= dict(training_steps=13, sample_every_steps=100, log_every_steps=4)
    run_config = TrainConfig(**options, workdir=str(folder / 'run'))
    dataset = data.load(run_config)
    Trainer(resolve(run_config, dataset.spec), dataset).train()
    tf.saved_model.save(TinyInception(), str(folder / 'network'))
    return folder


def scores_of(folder):
    """Returns the records of `scores.jsonl` without the lines that close a request."""
    return [record for record in read_jsonl(folder / 'scores.jsonl') if 'stem' in record]


@pytest.fixture
def score(tmp_path):
    """`score(run, **options)`: new records of an evaluation by name; starts with no cache."""

    def evaluate_(run, *, sets='reconstructions,samples,train', **options):
        before = len(scores_of(run))
        evaluate(
            EvaluateConfig(
                workdir=str(run), cache_dir=str(tmp_path / 'cache'), sets=sets, **options
            )
        )
        return {record['metric']: record for record in scores_of(run)[before:]}

    return evaluate_


@pytest.fixture
def own(trained, tmp_path):
    """A copy of the run on digits, and the options of a network."""
    shutil.copytree(trained / 'run', tmp_path / 'own')
    network = dict(features='inception', inception_path=str(trained / 'network'))
    return tmp_path / 'own', network
