"""Export: signatures, model card, and the same outputs in TensorFlow, Keras, LiteRT and ONNX."""

import gc
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import noise
from flexae_tf.config import TrainConfig
from flexae_tf.data import CODES, DatasetSpec
from flexae_tf.errors import UsageError
from flexae_tf.export import Sampler
from flexae_tf.methods import AUTOENCODERS, METHODS
from flexae_tf.methods.second_stage import TwoStagePrior
from flexae_tf.noise import Role
from flexae_tf.training.trainer import Trainer
from tests.conftest import ROOT, shorten_networks
from tests.methods.building import REQUIRED, build
from tests.test_documents import code_blocks

SPEC = DatasetSpec('digits', 'images', (28, 28, 1), 1437, 360, (0.0, 1.0))
VECTORS = DatasetSpec('synthetic_2d', 'vectors', (128,), 15_000, 10_000, (-1.0, 1.0))
RUNS = ROOT / 'flexae_tf/training/RUNS.md'
TRANSFORMED = ('StandardNormal', 'LearnedPrior', 'MaskedNormal', 'FlowPrior')


def make(name, spec, **options):
    small = dict(width_multiplier=0.05, latent_dim=4, batch_size=6, critic_steps=1)
    return build(TrainConfig(method=name, **small | REQUIRED.get(name, {}) | options), spec)


@pytest.fixture(scope='module')
def method():
    method = make('flexae', SPEC)
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
model = tf.saved_model.load(sys.argv[1])
signatures = model.signatures
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


class TestUint8:
    """Signatures of uint8 images, and images that are not in [0, 1]."""

    def test_uint8_signatures_scale_and_round(self, method, folder):
        x = np.random.RandomState(0).randint(0, 256, [4, 28, 28, 1], np.uint8)
        scaled = np.float32(x / 255.0)
        model = tf.saved_model.load(folder)
        z = model.signatures['encode_uint8'](images=x)['latents']
        np.testing.assert_allclose(z, method.encode(scaled), rtol=0, atol=1e-6)
        x_hat = model.signatures['reconstruct_uint8'](images=x)['images'].numpy()
        rounded = np.round(method.reconstruct(scaled) * 255.0)
        assert x_hat.dtype == np.uint8 and np.abs(x_hat - rounded).max() <= 1

    @pytest.mark.parametrize('name', ['encode', 'reconstruct', 'interpolate'])
    def test_float_signatures_refuse_values_that_are_not_scaled(self, folder, name):
        model = tf.saved_model.load(folder)  # a signature casts arrays of NumPy to float32
        x = np.full([2, 28, 28, 1], 255, np.uint8)
        images = dict(a=x, b=x, steps=tf.constant(2)) if name == 'interpolate' else dict(images=x)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'outside \[0, 1\]'):
            model.signatures[name](**images)
        centred = {k: np.float32(v - 1.0) if k != 'steps' else v for k, v in images.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match=r'outside \[0, 1\]'):
            model.signatures[name](**centred)

    def test_interpolate_refuses_different_numbers_of_images(self, folder):
        x = tf.zeros([2, 28, 28, 1])
        model = tf.saved_model.load(folder)
        with pytest.raises(tf.errors.InvalidArgumentError, match='a, b: different numbers'):
            model.signatures['interpolate'](a=x[:1], b=x, steps=tf.constant(2))


class TestDecodeNoise:
    """The signature that maps normal noise to images, for runtimes without random numbers."""

    def test_decode_noise_of_the_seeds_noise_gives_its_samples(self, method, folder):
        n = noise.normal(noise.key(3, 0, Role.SAMPLE), [7, 4])
        images = tf.saved_model.load(folder).signatures['decode_noise'](noise=n)['images']
        np.testing.assert_allclose(images, method.sample(7, seed=3), rtol=0, atol=1e-6)

    @pytest.mark.parametrize('name', AUTOENCODERS)
    def test_decode_noise_exists_for_functions_of_normal_noise(self, name):
        method = make(name, VECTORS)
        if method.prior is None:  # sampled from a Gaussian mixture, by default
            return
        sampler = Sampler(method)
        assert hasattr(sampler, 'decode_noise') == (METHODS[name].prior in TRANSFORMED)
        if hasattr(sampler, 'decode_noise'):
            graph = sampler.decode_noise.get_concrete_function().graph
            types = {op.type for op in graph.get_operations()}
            assert not [t for t in types if t == 'Ndtri' or 'Random' in t or 'PartitionedCall' in t]
            outputs = [t.dtype for op in graph.get_operations() for t in op.outputs]
            assert not {tf.int64, tf.uint64} & set(outputs)

    def test_decode_noise_of_a_second_stage_gives_its_samples(self):
        codes = DatasetSpec(CODES, 'vectors', (8,), None, None, (-1.0, 1.0))
        method = make('vae', VECTORS)
        method.prior = TwoStagePrior(
            make('second_stage', codes, dataset=CODES, network='synthetic')
        )
        n = noise.normal(noise.key(3, 0, Role.SAMPLE), [5, 8])
        images = Sampler(method).decode_noise(n)['images']
        np.testing.assert_allclose(images, method.sample(5, seed=3), rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        'name',
        [
            'mask_aae',
            *(
                pytest.param(
                    name,
                    marks=pytest.mark.skipif(
                        'FLEXAE_TF_SOAK' not in os.environ, reason='bin/test --soak'
                    ),
                )
                for name in AUTOENCODERS
                if METHODS[name].prior in TRANSFORMED and name != 'mask_aae'
            ),
        ],
    )
    def test_decode_noise_and_encode_run_in_litert_and_onnx(self, name, tmp_path, monkeypatch):
        interpreter = pytest.importorskip('ai_edge_litert.interpreter')
        onnxruntime = pytest.importorskip('onnxruntime')
        tf2onnx = pytest.importorskip('tf2onnx')
        shorten_networks(monkeypatch)
        sampler = Sampler(make(name, SPEC, width_multiplier=1.0))
        sampler.save(tmp_path / 'model')
        model = tf.saved_model.load(tmp_path / 'model')
        rng = np.random.RandomState(0)
        inputs = {
            ('decode_noise', 'images'): dict(noise=np.float32(rng.normal(size=[5, 4]))),
            ('encode', 'latents'): dict(images=np.float32(rng.rand(5, 28, 28, 1))),
        }
        for (signature, output), values in inputs.items():
            ((key, value),) = values.items()
            expected = getattr(sampler, signature)(value)[output]
            converter = tf.lite.TFLiteConverter.from_saved_model(
                str(tmp_path / 'model'), signature_keys=[signature]
            )
            content = converter.convert()
            runner = interpreter.Interpreter(model_content=content).get_signature_runner(signature)
            np.testing.assert_allclose(runner(**values)[output], expected, rtol=0, atol=1e-5)
            function = tf.function(
                lambda x, name=signature, key=key: model.signatures[name](**{key: x})
            )
            spec = tf.TensorSpec([None, *value.shape[1:]], tf.float32, name=key)
            proto, _ = tf2onnx.convert.from_function(function, [spec])
            session = onnxruntime.InferenceSession(proto.SerializeToString())
            (found,) = session.run([output], values)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def examples(folder):
    """Returns the examples of RUNS.md for an export."""
    text = RUNS.read_text()
    blocks = code_blocks(text[text.index('## Exported models') :], 'python')
    assert len(blocks) == 4 and "'runs/mnist/export/000130000'" in blocks[0]
    named = [block.replace("'runs/mnist/export/000130000'", repr(str(folder))) for block in blocks]
    return [block.replace('32]', '4]') for block in named]  # latent_dim


@pytest.fixture(scope='module')
def names(folder):
    """Runs the first two examples; returns their names."""
    names = {}
    for block in examples(folder)[:2]:
        exec(block, names)
    return names


class TestDocument:
    """The examples of RUNS.md, as they are written."""

    def test_saved_model_works_inside_a_function(self, method, names):
        gc.collect()
        expected = method.sample(16, seed=1)
        np.testing.assert_allclose(names['images'], expected, rtol=0, atol=1e-6)
        batch = names['sample_batch'](tf.constant(1))
        np.testing.assert_allclose(batch, expected, rtol=0, atol=1e-6)

    def test_signatures_are_layers_of_keras(self, method, names):
        x = np.random.RandomState(0).rand(4, 28, 28, 1).astype(np.float32)
        x_hat, z = names['autoencoder'](x), names['encoder'](x)['latents']
        np.testing.assert_allclose(x_hat, method.reconstruct(x), rtol=0, atol=1e-6)
        np.testing.assert_allclose(z, method.encode(x), rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            names['autoencoder'].predict(x, verbose=0), x_hat, rtol=0, atol=1e-6
        )
        np.testing.assert_allclose(names['images'], method.sample(16, 1), rtol=0, atol=1e-6)

    def test_converted_models_give_the_samples(self, method, names, folder, tmp_path, monkeypatch):
        for module in ('ai_edge_litert', 'onnxruntime', 'tf2onnx'):
            pytest.importorskip(module)
        monkeypatch.chdir(tmp_path)
        for block in examples(folder)[2:]:
            exec(block, names)
        expected = method.decode(method.prior.transform(tf.constant(names['noise'])))
        np.testing.assert_allclose(names['lite_images'], expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(names['onnx_images'], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', ['a [1] *?', 'b\\c', os.fsdecode(b'latin \xe9')])
def test_export_folder_can_have_any_name(name, tmp_path, here):
    folder = tmp_path / name
    Sampler(make('wae_normal', VECTORS)).save(folder / name)
    assert [path.name for path in folder.iterdir()] == [name]
    output = folder / f'{name}.npz'
    here('sample', f'--source={folder / name}', '--num_samples=2', f'--output_file={output}')
    assert np.load(output)['images'].shape == (2, 128)


def test_save_refuses_an_existing_folder(method, folder):
    with pytest.raises(UsageError, match='exists'):
        Sampler(method).save(folder)


def test_save_refuses_a_folder_that_another_export_wrote_meanwhile(tmp_path, monkeypatch):
    folder, save = tmp_path / 'model', tf.saved_model.save

    def save_and_copy(model, path, **options):
        save(model, path, **options)
        shutil.copytree(path, folder)

    monkeypatch.setattr(tf.saved_model, 'save', save_and_copy)
    with pytest.raises(UsageError, match='model: already exists. Remove it'):
        Sampler(make('wae_normal', VECTORS)).save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ['model']
    assert tf.saved_model.load(str(folder)).signatures


def test_save_refuses_a_link_to_nothing(method, tmp_path):
    (tmp_path / 'model').symlink_to('nowhere')
    with pytest.raises(UsageError, match='exists'):
        Sampler(method).save(tmp_path / 'model')


def test_save_leaves_nothing_after_a_failure(method, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        message = '{{function_node __wrapped__Save}} disk full\nlines [Op:SaveV2]'
        raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setattr(tf.saved_model, 'save', fail)
    with pytest.raises(UsageError, match=r'not writable \(disk full\)\. Use another'):
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
    assert card['decode_noise'] == 'noise [n, 2] ~ N(0, I) -> images'
    arrays = {}
    for source in (workdir, export):
        output = tmp_path / 'x.npz'
        seed = ['--num_samples=9', '--sample_seed=5']
        here('sample', f'--source={source}', *seed, f'--output_file={output}')
        arrays[source] = np.load(output)['images']
    np.testing.assert_allclose(arrays[workdir], trained_method.sample(9, seed=5), atol=1e-6)
    np.testing.assert_allclose(arrays[workdir], arrays[export], atol=1e-6)


def test_model_card_states_a_missing_decode_noise(trained_method, tmp_path, here):
    flags = [f'--workdir={trained_method.config.workdir}', '--density=gaussian_mixture']
    here('fit', *flags)
    here('export', *flags, f'--export_dir={tmp_path}/export')
    card = json.loads((tmp_path / 'export/model_card.json').read_text())
    assert card['decode_noise'].startswith('none: GaussianMixture')


@pytest.mark.parametrize('flags, name', [([], '000000010'), (['--density=none'], '000000010-none')])
def test_export_folder_is_named_by_step_and_density(trained_method, flags, name, here):
    workdir = pathlib.Path(trained_method.config.workdir)
    here('export', f'--workdir={workdir}', *flags)
    assert (workdir / 'export' / name / 'saved_model.pb').exists()


def test_export_refuses_a_missing_checkpoint(trained_method, refused_here):
    flags = [f'--workdir={trained_method.config.workdir}', '--checkpoint=7']
    refused_here(3, ['no checkpoint of step 7', '10'], 'export', *flags)
