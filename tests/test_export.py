import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.export import Sampler
from flexae_tf.image_grid import grid, read_png, to_uint8
from flexae_tf.training.trainer import Trainer
from tests.conftest import ROOT
from tests.methods.building import build

SPEC = DatasetSpec('digits', 'images', (28, 28, 1), 1437, 360, (0.0, 1.0))


@pytest.fixture(scope='module')
def method():
    config = TrainConfig(width_multiplier=0.05, latent_dim=4, batch_size=6, critic_steps=1)
    method = build(config, SPEC)
    # Moves the batch-norm averages, so that an export of their initial values would differ.
    images = np.random.RandomState(1).rand(6, 28, 28, 1).astype(np.float32)
    method.decoder(method.encoder(images, training=True), training=True)
    return method


@pytest.fixture(scope='module')
def folder(method, tmp_path_factory):
    folder = tmp_path_factory.mktemp('export') / 'model'
    Sampler(method).save(folder)
    return folder


LOADER = """
import sys
import numpy as np
import tensorflow as tf
before = set(sys.modules)
signatures = tf.saved_model.load(sys.argv[1]).signatures
x = np.load(sys.argv[2])
i = lambda v: tf.constant(v, tf.int32)
out = {}
out['sample'] = signatures['serving_default'](num=i(7), seed=i(3))['images']
out['again'] = signatures['sample'](num=i(7), seed=i(3))['images']
out['uint8'] = signatures['sample_uint8'](num=i(7), seed=i(3))['images']
out['latents'] = signatures['latents'](num=i(7), seed=i(3))['latents']
out['encode'] = signatures['encode'](images=tf.constant(x))['latents']
out['decode'] = signatures['decode'](latents=out['latents'])['images']
out['reconstruct'] = signatures['reconstruct'](images=tf.constant(x))['images']
ends = dict(a=tf.constant(x[:2]), b=tf.constant(x[2:4]))
out['interpolate'] = signatures['interpolate'](**ends, steps=i(5))['images']
more = {m.split('.')[0] for m in set(sys.modules) - before} - {'tensorflow'}
assert not more & {'flexae_tf', 'keras', 'tf_keras'}, more
np.savez(sys.argv[3], **{k: v.numpy() for k, v in out.items()})
"""


def test_export_equals_the_method_in_a_process_without_keras(method, folder, tmp_path):
    x = np.random.RandomState(0).rand(4, 28, 28, 1).astype(np.float32)
    np.save(tmp_path / 'x.npy', x)
    command = [sys.executable, '-c', LOADER, folder, tmp_path / 'x.npy', tmp_path / 'out.npz']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = np.load(tmp_path / 'out.npz')
    close = dict(rtol=0, atol=1e-6)
    live = method.sample(7, seed=3)
    np.testing.assert_allclose(out['sample'], live, **close)
    np.testing.assert_array_equal(out['sample'], out['again'])
    np.testing.assert_array_equal(out['uint8'], np.round(out['sample'] * 255))
    np.testing.assert_allclose(out['latents'], method.sample_latent(7, 3), **close)
    np.testing.assert_allclose(out['encode'], method.encode(x), **close)
    np.testing.assert_allclose(out['decode'], live, **close)
    np.testing.assert_allclose(out['reconstruct'], method.reconstruct(x), **close)
    line = out['interpolate']
    assert line.shape == (2, 5, 28, 28, 1)
    np.testing.assert_allclose(line[:, 0], method.reconstruct(x[:2]), **close)
    np.testing.assert_allclose(line[:, -1], method.reconstruct(x[2:]), **close)
    middle = (method.encode(x[:2]) + method.encode(x[2:])) / 2
    np.testing.assert_allclose(line[:, 2], method.decode(middle), **close)


def test_signatures_are_layers_of_keras(method, folder):
    def layer(name):
        return keras.layers.TFSMLayer(folder, call_endpoint=name)

    x = np.random.RandomState(0).rand(4, 28, 28, 1).astype(np.float32)
    codes = layer('encode')(x)['latents']
    np.testing.assert_allclose(codes, method.encode(x), rtol=0, atol=1e-6)
    images = layer('sample')(tf.constant(7), seed=tf.constant(3))['images']
    np.testing.assert_allclose(images, method.sample(7, seed=3), rtol=0, atol=1e-6)


def test_sample_writes_a_grid_or_arrays_of_an_export(method, folder, tmp_path, here):
    expected = to_uint8(method.sample(5, seed=3).numpy())
    flags = [f'--source={folder}', '--num_samples=5', '--sample_seed=3']
    here('sample', *flags, f'--output_file={tmp_path}/x.png')
    image = read_png(tmp_path / 'x.png').astype(int)
    assert np.abs(image - grid(expected)).max() <= 1  # rounding
    here('sample', *flags, f'--output_file={tmp_path}/x.npz')
    with np.load(tmp_path / 'x.npz') as arrays:
        assert arrays['images'].dtype == np.uint8 and arrays['latents'].shape == (5, 4)
        assert np.abs(arrays['images'].astype(int) - expected).max() <= 1


@pytest.mark.parametrize('flag', ['--checkpoint=3', '--density=gaussian_mixture', '--fit_missing'])
def test_sample_refuses_flags_that_an_export_has_fixed(flag, folder, tmp_path, refused_here):
    flags = [f'--source={folder}', f'--output_file={tmp_path}/x.png', flag]
    refused_here(2, [flag, 'is an export'], 'sample', *flags)


def test_save_refuses_an_existing_folder(method, folder):
    with pytest.raises(UsageError, match='exists'):
        Sampler(method).save(folder)


def test_save_leaves_nothing_after_a_failure(method, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, 'disk full')

    monkeypatch.setattr(tf.saved_model, 'save', fail)
    with pytest.raises(UsageError, match='disk full'):
        Sampler(method).save(tmp_path / 'model')
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def trained_method(config, synthetic, tmp_path_factory):
    """The method of a trained run; tests may add exports to its workdir."""
    trainer = Trainer(config(workdir=str(tmp_path_factory.mktemp('run') / 'run')), synthetic)
    trainer.train()
    return trainer.method


def test_run_and_its_export_give_equal_samples(trained_method, tmp_path, here):
    workdir = trained_method.config.workdir
    export = tmp_path / 'export'
    here('export', f'--workdir={workdir}', f'--export_dir={export}')
    card = json.loads((export / 'model_card.json').read_text())
    assert card['step'] == 10 and card['config']['dataset'] == 'synthetic_2d'
    assert len(card['checkpoint']) == 12
    arrays = {}
    for source in (workdir, export):
        output = tmp_path / 'x.npz'
        seed = ['--num_samples=9', '--sample_seed=5']
        here('sample', f'--source={source}', *seed, f'--output_file={output}')
        arrays[source] = np.load(output)['images']
    np.testing.assert_allclose(arrays[workdir], trained_method.sample(9, seed=5), atol=1e-6)
    np.testing.assert_allclose(arrays[workdir], arrays[export], atol=1e-6)


@pytest.mark.parametrize('flags, name', [([], '000000010'), (['--density=none'], '000000010-none')])
def test_export_folder_is_named_by_step_and_density(trained_method, flags, name, here):
    workdir = pathlib.Path(trained_method.config.workdir)
    here('export', f'--workdir={workdir}', *flags)
    assert (workdir / 'export' / name / 'saved_model.pb').exists()


def test_export_refuses_a_missing_checkpoint(trained_method, refused_here):
    flags = [f'--workdir={trained_method.config.workdir}', '--checkpoint=7']
    refused_here(3, ['no checkpoint of step 7', '10'], 'export', *flags)


@pytest.mark.parametrize(
    'output, words',
    [
        ('x.png', ['vectors', '.npz']),
        ('x.gif', ['.png or .npz']),
        ('missing/x.npz', ['not writable']),
    ],
)
def test_sample_refuses_outputs(trained_method, output, words, tmp_path, refused_here):
    flags = [f'--source={trained_method.config.workdir}', f'--output_file={tmp_path}/{output}']
    refused_here(2, words, 'sample', *flags)
    assert not list(tmp_path.iterdir())


def test_sample_refuses_a_folder_without_a_model(tmp_path, refused_here):
    refused_here(3, ['neither'], 'sample', f'--source={ROOT}', f'--output_file={tmp_path}/x.npz')
