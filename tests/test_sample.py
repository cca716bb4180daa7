"""The sample program: files, folders of images, and sources that are refused."""

import errno
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import sample
from flexae_tf.config import TrainConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.densities.densities import load_run
from flexae_tf.export import Sampler
from flexae_tf.image_grid import grid, read_png, to_uint8, too_large
from tests.conftest import ROOT, shorten_networks
from tests.methods.building import build

SPEC = DatasetSpec('digits', 'images', (28, 28, 1), 1437, 360, (0.0, 1.0))
VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))


@pytest.fixture(scope='module')
def method(tmp_path_factory):
    monkeypatch = pytest.MonkeyPatch()
    shorten_networks(monkeypatch)
    yield build(TrainConfig(method='wae_normal', latent_dim=4, batch_size=6), SPEC)
    monkeypatch.undo()


@pytest.fixture(scope='module')
def source(method, tmp_path_factory):
    """Returns the flag of an export of untrained images."""
    folder = tmp_path_factory.mktemp('export') / 'model'
    Sampler(method).save(folder)
    return f'--source={folder}'


@pytest.fixture(scope='module')
def vectors(tmp_path_factory):
    """Returns the flag of an export of vectors."""
    folder = tmp_path_factory.mktemp('vectors') / 'model'
    Sampler(build(TrainConfig(dataset='synthetic_2d', method='wae_normal'), VECTORS)).save(folder)
    return f'--source={folder}'


class Foreign(tf.Module):
    """A SavedModel with the signatures of an export, from elsewhere.

    Args:
        latents: codes of every sample.
        rows: number of samples that `decode` returns; None for all.
        value: value of the pixels of codes that are not positive.
        output: name of the output of `decode`.
        change: function of these samples that `decode` returns.
    """

    def __init__(self, latents=0.0, rows=None, value=0.5, output='images', change=tf.identity):
        super().__init__()
        num, seed = (tf.TensorSpec([], tf.int32, name=name) for name in ('num', 'seed'))
        codes = tf.TensorSpec([None, 1], tf.float32, name='latents')

        def sample_latents(num, seed):
            z = tf.cast(tf.range(num), tf.float32)[:, None] + latents
            return {'latents': z + 0.0 * tf.cast(seed, tf.float32)}

        def decode(latents):
            x = tf.where(latents > 4.0, value, 0.5)[:rows]
            return {output: change(tf.tile(x[:, None, None], [1, 2, 2, 1]))}

        self.latents = tf.function(sample_latents, input_signature=[num, seed])
        self.decode = tf.function(decode, input_signature=[codes])

    def save(self, folder):
        """Writes the SavedModel; returns the flag that names it."""
        signatures = {'latents': self.latents, 'decode': self.decode}
        tf.saved_model.save(self, str(folder), signatures=signatures)
        return f'--source={folder}'


def test_sample_writes_a_grid_or_arrays_of_an_export(method, source, tmp_path, here):
    expected = to_uint8(method.sample(5, seed=3).numpy())
    flags = [source, '--num_samples=5', '--sample_seed=3']
    here('sample', *flags, f'--output_file={tmp_path}/x.png')
    image = read_png(tmp_path / 'x.png').astype(int)
    assert np.abs(image - grid(expected)).max() <= 1  # rounding
    here('sample', *flags, f'--output_file={tmp_path}/x.npz')
    with np.load(tmp_path / 'x.npz') as arrays:
        assert arrays['images'].dtype == np.uint8 and arrays['latents'].shape == (5, 4)
        assert np.abs(arrays['images'].astype(int) - expected).max() <= 1


class TestFolder:
    """`--output_dir`: one PNG file for each sample."""

    def test_folder_holds_the_images_in_order(self, method, source, tmp_path, here):
        flags = [source, '--num_samples=7', '--sample_seed=3', '--batch_size=3']
        here('sample', *flags, f'--output_dir={tmp_path}/new/folder')
        paths = sorted((tmp_path / 'new/folder').iterdir())
        assert [path.name for path in paths] == [f'00000{i}.png' for i in range(7)]
        images = np.stack([read_png(path) for path in paths])
        assert images.shape == (7, 28, 28, 1)  # grey stays grey
        here('sample', *flags, f'--output_file={tmp_path}/x.npz')
        np.testing.assert_array_equal(images, np.load(tmp_path / 'x.npz')['images'])

    def test_folder_holds_the_scored_images(self, tmp_path, here, short_networks):
        run = f'--workdir={tmp_path}/run'
        here('train', '--flagfile=flags/smoke.flags', run)
        flags = ['--features=pixels', '--metrics=fd', '--num_examples=110']
        scored = []
        with pytest.MonkeyPatch.context() as monkeypatch:
            from flexae_tf.evaluation import image_sets

            make = image_sets.map_batches
            monkeypatch.setattr(
                image_sets, 'map_batches', lambda *a: scored.append(make(*a)) or scored[-1]
            )
            here('evaluate', run, '--sets=samples', *flags)
        here(
            'sample', f'--source={tmp_path}/run', '--num_samples=110', f'--output_dir={tmp_path}/x'
        )
        images = np.stack([read_png(path) for path in sorted((tmp_path / 'x').iterdir())])
        np.testing.assert_array_equal(images, to_uint8(scored[0]))
        method = load_run(tmp_path / 'run')
        assert np.abs(images / 255.0 - method.sample(110, 0)).max() < 0.51 / 255.0

    def test_samples_do_not_depend_on_the_number_of_devices(self, tmp_path, here, short_networks):
        here('train', '--flagfile=flags/smoke.flags', f'--workdir={tmp_path}/run')
        flags = [f'--source={tmp_path}/run', '--num_samples=11', '--batch_size=3']
        for distribution in ('none', 'mirrored'):
            output = f'--output_file={tmp_path}/{distribution}.npz'
            here('sample', *flags, f'--distribution={distribution}', output)
        one, two = (np.load(tmp_path / f'{name}.npz') for name in ('none', 'mirrored'))
        for name in ('images', 'latents'):
            np.testing.assert_array_equal(one[name], two[name])

    def test_folder_is_written_batch_by_batch(self, source, tmp_path, here, monkeypatch):
        calls = []
        for name in ('to_uint8', 'write_png'):
            real = getattr(sample, name)
            monkeypatch.setattr(
                sample, name, lambda *a, name=name, real=real: calls.append(name) or real(*a)
            )
        here('sample', source, '--num_samples=5', '--batch_size=2', f'--output_dir={tmp_path}/x')
        batch = ['to_uint8', 'write_png', 'write_png']
        assert calls == [*batch, *batch, *batch[:2]]

    def test_folder_that_is_not_empty_is_refused(self, source, tmp_path, here, refused_here):
        (tmp_path / '.DS_Store').write_text('')
        flags = [source, '--num_samples=2', f'--output_dir={tmp_path}']
        here('sample', *flags)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        refused_here(2, [str(tmp_path), 'not empty'], 'sample', *flags, '--num_samples=9')
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_images_of_another_program_are_kept(self, source, tmp_path, refused_here, monkeypatch):
        real = sample.write_png

        def write(path, image):
            (tmp_path / 'x' / '000000.png').write_text('of another program')
            real(path, image)

        monkeypatch.setattr(sample, 'write_png', write)
        refused_here(2, 'not empty', 'sample', source, f'--output_dir={tmp_path / "x"}')
        assert [path.name for path in (tmp_path / 'x').iterdir()] == ['000000.png']
        assert (tmp_path / 'x' / '000000.png').read_text() == 'of another program'

    def test_grid_of_too_many_images_is_refused(self, source, tmp_path, refused_here, monkeypatch):
        assert not too_large(174_724, (64, 64, 3)) and too_large(175_000, (64, 64, 3))
        monkeypatch.setattr(sample, 'too_large', lambda num, shape: num * shape[0] > 100)
        path = tmp_path / 'x.png'
        refused_here(
            2,
            '--num_samples=4: too many',
            'sample',
            source,
            '--num_samples=4',
            f'--output_file={path}',
        )
        assert not path.exists()

    def test_folder_is_emptied_after_an_error(self, source, tmp_path, refused_here, monkeypatch):
        real, written = sample.write_png, []

        def fail(path, image):
            real(path, image)
            written.append(path)
            assert not list((tmp_path / 'x').glob('*.png'))  # what a kill would leave
            if len(written) == 4:
                raise OSError(errno.ENOSPC, 'No space left on device')

        monkeypatch.setattr(sample, 'write_png', fail)
        flags = [source, '--num_samples=6', '--batch_size=2', f'--output_dir={tmp_path}/x']
        refused_here(2, [f'{tmp_path}/x', 'No space left'], 'sample', *flags)
        assert len(written) == 4 and not list((tmp_path / 'x').iterdir())

    def test_folder_below_a_file_is_refused(self, source, tmp_path, refused_here):
        (tmp_path / 'file').write_text('')
        for name in ('file', 'file/x'):
            flags = [source, f'--output_dir={tmp_path}/{name}']
            refused_here(2, [f'--output_dir={tmp_path}/{name}: not writable'], 'sample', *flags)

    def test_folder_needs_images(self, vectors, tmp_path, refused_here):
        refused_here(2, ['vectors', '.npz'], 'sample', vectors, f'--output_dir={tmp_path}/x')
        assert not list((tmp_path / 'x').iterdir())

    @pytest.mark.parametrize('flags', [[], ['--output_file=x.png', '--output_dir=x']])
    def test_sample_needs_one_output(self, flags, refused_here):
        refused_here(2, ['--output_file', '--output_dir'], 'sample', '--source=x', *flags)


class TestForeignModel:
    """SavedModels that are no exports, or whose samples are invalid."""

    @pytest.mark.parametrize('output', ['--output_file={}/x.npz', '--output_dir={}/x'])
    @pytest.mark.parametrize(
        ('model', 'code', 'words'),
        [
            (dict(value=np.nan), 5, ['not finite']),
            (dict(value=np.inf), 5, ['not finite']),
            (dict(latents=np.nan), 5, ['not finite']),
            (dict(rows=2), 3, ['[2, 2, 2, 1], not 3 samples']),
            (dict(rows=0), 3, ['[0, 2, 2, 1], not 3 samples']),
            (dict(output='x'), 3, ['not an export']),
        ],
        ids=['nan', 'inf', 'nan codes', 'few', 'none', 'names'],
    )
    def test_invalid_samples_are_refused(self, tmp_path, refused_here, output, model, code, words):
        flag = Foreign(**model).save(tmp_path / 'model')
        flags = [flag, '--num_samples=9', '--batch_size=3', output.format(tmp_path)]
        refused_here(code, [flag, *words], 'sample', *flags)
        assert not list(tmp_path.glob('x*/*')) and not (tmp_path / 'x.npz').exists()

    @pytest.mark.parametrize(
        ('change', 'words'),
        [
            (lambda x: tf.repeat(x, 2, axis=0), '[6, 2, 2, 1], not 3 samples'),
            (lambda x: x[..., 0], '[3, 2, 2], not 3 samples'),
            (lambda x: tf.repeat(x, 2, axis=3), '[3, 2, 2, 2], not 3 samples'),
            (lambda x: x[:, :0], '[3, 0, 2, 1], not 3 samples'),
            (lambda x: tf.reduce_sum(x), '[], not 3 samples'),
            (lambda x: tf.ensure_shape(tf.repeat(x, tf.shape(x)[0], 3), [None, 2, 2, 5]), 'fails'),
        ],
    )
    def test_other_shapes_are_refused(self, tmp_path, refused_here, change, words):
        flag = Foreign(change=change).save(tmp_path / 'model')
        flags = [flag, '--num_samples=9', '--batch_size=3', f'--output_dir={tmp_path}/x']
        refused_here(3, [flag, words], 'sample', *flags)
        assert not list((tmp_path / 'x').iterdir())

    @pytest.mark.parametrize('kind', ['pipe', 'device', 'folder'])
    def test_parts_that_are_no_files_are_refused(self, tmp_path, refused_here, kind):
        flag = Foreign().save(tmp_path / 'model')
        part = tmp_path / 'model/variables/variables.index'
        part.unlink()
        if kind == 'pipe':
            os.mkfifo(part)
        else:
            part.symlink_to('/dev/zero' if kind == 'device' else tmp_path)
        refused_here(3, [flag, 'not a regular'], 'sample', flag, f'--output_file={tmp_path}/x.npz')

    def test_valid_samples_are_written(self, tmp_path, here):
        flag = Foreign(value=1.0).save(tmp_path / 'model')
        here('sample', flag, '--num_samples=9', f'--output_file={tmp_path}/x.npz')
        values = np.load(tmp_path / 'x.npz')['images'][:, 0, 0, 0]
        np.testing.assert_array_equal(values, [128] * 5 + [255] * 4)

    def test_model_without_signatures_is_refused(self, tmp_path, refused_here):
        tf.saved_model.save(tf.Module(), str(tmp_path / 'model'))
        flags = [f'--source={tmp_path}/model', f'--output_file={tmp_path}/x.png']
        refused_here(3, ['not an export'], 'sample', *flags)


@pytest.mark.parametrize('part', ['graph', 'variables', 'fingerprint', 'manifest', 'missing'])
def test_sample_refuses_an_export_that_was_changed(part, source, tmp_path, refused_here):
    model = shutil.copytree(source.removeprefix('--source='), tmp_path / 'model')
    (data,) = (model / 'variables').glob('*.data-*')
    names = {'graph': 'saved_model.pb', 'fingerprint': 'fingerprint.pb'}
    path = data if part == 'variables' else model / names.get(part, 'manifest.json')
    if part == 'missing':
        path = model / 'variables/variables.index'
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    flags = [f'--source={model}', f'--output_file={tmp_path}/x.npz']
    refused_here(4, [path.name, 'Export the model again'], 'sample', *flags)


@pytest.mark.parametrize('flag', ['--checkpoint=3', '--density=gaussian_mixture', '--fit_missing'])
def test_sample_refuses_flags_that_an_export_has_fixed(flag, source, tmp_path, refused_here):
    flags = [source, f'--output_file={tmp_path}/x.png', flag]
    refused_here(2, [flag, 'is an export'], 'sample', *flags)


@pytest.mark.parametrize(
    'output, words',
    [
        ('x.png', ['vectors', '.npz']),
        ('x.gif', ['.png or .npz']),
        ('missing/x.npz', ['not writable']),
    ],
)
def test_sample_refuses_outputs(vectors, output, words, tmp_path, refused_here):
    refused_here(2, words, 'sample', vectors, f'--output_file={tmp_path / output}')
    assert not list(tmp_path.iterdir())


def test_sample_refuses_data_that_it_does_not_read(source, tmp_path, refused_here):
    flags = [source, f'--output_file={tmp_path}/x.npz', f'--data_dir={tmp_path}']
    refused_here(2, [f'--data_dir={tmp_path}', '--fit_missing'], 'sample', *flags)


def test_sample_keeps_the_old_file_after_an_error(source, tmp_path, monkeypatch, refused_here):
    (tmp_path / 'x.npz').write_text('old')

    def fail(file, **_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(np, 'savez_compressed', fail)
    refused_here(2, ['No space left'], 'sample', source, f'--output_file={tmp_path}/x.npz')
    assert [p.read_text() for p in tmp_path.iterdir()] == ['old']


def test_sample_refuses_a_folder_without_a_model(tmp_path, refused_here):
    refused_here(3, ['neither'], 'sample', f'--source={ROOT}', f'--output_file={tmp_path}/x.npz')
