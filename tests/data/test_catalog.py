import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data import catalog
from flexae_tf.errors import UsageError

STRIPES = """
import numpy as np
from flexae_tf.data import DatasetSpec, Source, Split

def describe(config):
    return DatasetSpec('stripes', 'images', (8, 8, 1), 60, 20, (0.0, 1.0), num_classes=2)

def load(config):
    x = np.zeros([80, 8, 8, 1], np.uint8)
    x[::2, ::2] = 255
    labels = np.arange(80) % 2
    return Split(x[:60], labels=labels[:60]), Split(x[60:], labels=labels[60:])

STRIPES = Source(describe, load)
NOT_A_SOURCE = 3
"""


@pytest.fixture
def stripes(tmp_path, monkeypatch):
    """Returns the `--dataset` of a source in a module outside the package."""
    package = tmp_path / 'outside_package'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / 'stripes.py').write_text(STRIPES)
    monkeypatch.syspath_prepend(tmp_path)
    yield 'outside_package.stripes:STRIPES'
    for name in [name for name in sys.modules if name.startswith('outside_package')]:
        del sys.modules[name]


@pytest.fixture
def npz_options(tmp_path):
    """Returns the options of a `--dataset=folder` that is an .npz file."""
    path = tmp_path / 'images.npz'
    np.savez(path, images=np.zeros([250, 6, 6], np.uint8))
    return dict(dataset='folder', data_dir=str(path), batch_size=8)


def test_describe_does_not_import_tensorflow(npz_options):
    code = f"""
import sys
from flexae_tf import data
from flexae_tf.config import TrainConfig
for name in data.DATASETS:
    options = {npz_options!r} if name == 'folder' else dict(dataset=name)
    assert data.describe(TrainConfig(**options)).name == name
slow = {{'tensorflow', 'keras', 'tensorflow_datasets', 'sklearn', 'scipy'}} & set(sys.modules)
assert not slow, slow
"""
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, '-c', code], cwd=repository, check=True, timeout=60)


def test_describe_has_the_sizes_of_the_paper():
    expected = {
        'mnist': ((28, 28, 1), 60_000, 10_000),
        'fashion_mnist': ((28, 28, 1), 60_000, 10_000),
        'cifar10': ((32, 32, 3), 50_000, 10_000),
        'celeba': ((64, 64, 3), 162_770, 19_962),
        'synthetic_2d': ((128,), 15_000, 10_000),
        'synthetic_5d': ((128,), 15_000, 10_000),
    }
    for name, sizes in expected.items():
        spec = data.describe(TrainConfig(dataset=name))
        assert (spec.shape, spec.train_size, spec.test_size) == sizes
    assert len(set(data.describe(TrainConfig(dataset='celeba')).attributes)) == 40


@pytest.mark.parametrize('name', ['digits', 'synthetic_2d', 'synthetic_5d'])
def test_load_agrees_with_describe(name):
    config = TrainConfig(dataset=name)
    dataset = data.load(config)
    spec = data.describe(config)
    assert dataset.spec == spec and spec.name == name
    assert len(dataset.test) == spec.test_size
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.x.shape == (len(split), *spec.shape)
        assert split.x.dtype == (np.uint8 if spec.kind == 'images' else np.float32)
        assert split.labels.shape == (len(split),) and split.labels.dtype == np.int64
        assert set(split.labels) == set(range(spec.num_classes))
        assert split.attributes is None


def test_find_returns_every_row():
    assert all(catalog.find(name) is row for name, row in catalog.DATASETS.items())


def test_find_refuses_an_unknown_name_and_lists_the_names():
    with pytest.raises(UsageError, match='--dataset=mnits: .*digits, mnist, .*package.module:NAME'):
        catalog.find('mnits')


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('outside_package.stripes:MISSING', 'MISSING.* Give package.module:NAME'),
        ('outside_package.missing:STRIPES', 'outside_package.missing.* PYTHONPATH'),
        ('outside_package.stripes:NOT_A_SOURCE', 'int object. Make it a flexae_tf.data.Source'),
        (':STRIPES', 'cannot be imported'),
    ],
)
def test_find_refuses_an_unusable_object_from_outside(stripes, name, words):
    with pytest.raises(UsageError, match=f'--dataset={name}: .*{words}'):
        catalog.find(name)


def test_source_from_outside_is_described_and_loaded(stripes):
    config = TrainConfig(dataset=stripes, batch_size=8, validation_examples=10)
    spec = data.describe(config)
    assert (spec.name, spec.shape, spec.train_size) == ('stripes', (8, 8, 1), 60)
    dataset = data.load(config)
    assert dataset.spec == spec
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (50, 10, 20)
    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.x[:, 0, 0, 0], 255 * (split.labels == 0))


@pytest.mark.parametrize(
    'change, words',
    [
        (lambda x: x / 255.0, 'loads float64 [60, 8, 8, 1], but describes images [8, 8, 1]'),
        (lambda x: x.astype(int), 'loads int64'),
        (lambda x: x[..., 0], 'loads uint8 [60, 8, 8], '),
    ],
)
def test_source_from_outside_refuses_other_examples(stripes, monkeypatch, change, words):
    source = catalog.find(stripes)

    def load(config):
        train, test = source.load(config)
        return data.Split(change(train.x)), test

    module = sys.modules['outside_package.stripes']
    monkeypatch.setattr(module, 'STRIPES', data.Source(source.describe, load))
    with pytest.raises(UsageError, match=r'Return uint8 \[n, 8, 8, 1\].$') as error:
        data.load(TrainConfig(dataset=stripes, batch_size=8))
    assert words in str(error.value)


def test_source_from_outside_may_have_labels_only_for_training(stripes, monkeypatch):
    source = catalog.find(stripes)

    def describe(config):
        return dataclasses.replace(source.describe(config), num_classes=None)

    def load(config):
        train, test = source.load(config)
        return train, data.Split(test.x)

    module = sys.modules['outside_package.stripes']
    monkeypatch.setattr(module, 'STRIPES', data.Source(describe, load))
    dataset = data.load(TrainConfig(dataset=stripes, batch_size=8))
    assert dataset.spec.num_classes == 1 + dataset.train.labels.max()
    assert dataset.test.labels is None


def test_source_from_outside_refuses_impossible_sizes_like_others(stripes):
    with pytest.raises(UsageError, match='--batch_size=51'):
        data.describe(TrainConfig(dataset=stripes, batch_size=51, validation_examples=10))
    with pytest.raises(UsageError, match='--image_size=8: not an option'):
        data.describe(TrainConfig(dataset=stripes, batch_size=8, image_size=8))
