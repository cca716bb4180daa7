import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import flexae_tf
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.export import Sampler
from flexae_tf.image_grid import grid, read_png, to_uint8
from flexae_tf.training.trainer import Trainer
from tests.conftest import ROOT

SPEC = DatasetSpec('digits', 'images', (28, 28, 1), 1437, 360, (0.0, 1.0))


@pytest.fixture(scope='module')
def method():
    config = TrainConfig(width_multiplier=0.05, latent_dim=4, batch_size=6, critic_steps=1)
    method = flexae_tf.build_method(config, SPEC)
    # Averages that are not where they were initialised: the export must hold the real ones.
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


def test_a_process_with_tensorflow_alone_gets_the_live_model(method, folder, tmp_path):
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


def test_samples_of_an_export_become_a_grid_or_arrays(method, folder, tmp_path, here, refused_here):
    expected = to_uint8(method.sample(5, seed=3).numpy())
    flags = [f'--source={folder}', '--num_samples=5', '--sample_seed=3']
    here('sample', *flags, f'--output_file={tmp_path}/x.png')
    picture = read_png(tmp_path / 'x.png').astype(int)
    assert np.abs(picture - grid(expected)).max() <= 1  # of rounding
    here('sample', *flags, f'--output_file={tmp_path}/x.npz')
    with np.load(tmp_path / 'x.npz') as arrays:
        assert arrays['images'].dtype == np.uint8 and arrays['latents'].shape == (5, 4)
        assert np.abs(arrays['images'].astype(int) - expected).max() <= 1
    for flag in ('--checkpoint=3', '--density=gaussian_mixture'):
        refused_here(2, ['is an export'], 'sample', *flags, flag, f'--output_file={tmp_path}/y.png')


def test_an_existing_folder_is_not_overwritten(method, folder):
    with pytest.raises(UsageError, match='exists'):
        Sampler(method).save(folder)


def test_a_failed_export_leaves_nothing(method, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, 'disk full')

    monkeypatch.setattr(tf.saved_model, 'save', fail)
    with pytest.raises(UsageError, match='disk full'):
        Sampler(method).save(tmp_path / 'model')
    assert not list(tmp_path.iterdir())


def test_from_a_run_to_files(config, synthetic, tmp_path, here, refused_here):
    run = tmp_path / 'run'
    trainer = Trainer(config(workdir=str(run)), synthetic)
    trainer.train()
    here('export', f'--workdir={run}')
    folder = run / 'export' / '000000010'
    card = json.loads((folder / 'model_card.json').read_text())
    assert card['step'] == 10 and card['config']['dataset'] == 'synthetic_2d'
    assert len(card['checkpoint']) == 12
    sources = {'run': run, 'export': folder}
    arrays = {}
    for name, source in sources.items():
        output = tmp_path / f'{name}.npz'
        flags = [
            f'--source={source}',
            '--num_samples=9',
            '--sample_seed=5',
            f'--output_file={output}',
        ]
        here('sample', *flags)
        arrays[name] = np.load(output)['images']
    np.testing.assert_allclose(arrays['run'], trainer.method.sample(9, seed=5), atol=1e-6)
    np.testing.assert_allclose(arrays['run'], arrays['export'], atol=1e-6)
    refused_here(
        2, ['vectors', '.npz'], 'sample', f'--source={run}', f'--output_file={tmp_path}/x.png'
    )
    refused_here(
        2, ['.png or .npz'], 'sample', f'--source={run}', f'--output_file={tmp_path}/x.gif'
    )
    refused_here(3, ['neither'], 'sample', f'--source={ROOT}', f'--output_file={tmp_path}/x.npz')
    refused_here(
        3, ['no checkpoint of step 7', '10'], 'export', f'--workdir={run}', '--checkpoint=7'
    )
    assert not (tmp_path / 'x.npz').exists()
    # Of another density, another export beside it.
    here('export', f'--workdir={run}', '--density=none')
    assert (run / 'export' / '000000010-none' / 'saved_model.pb').exists()
