"""A trained method as a SavedModel that samples, encodes and decodes without this package."""

import dataclasses
import os
import pathlib
import shutil
import uuid

import numpy as np
import tensorflow as tf

from flexae_tf.config import ExportConfig, SampleConfig
from flexae_tf.data.batches import map_batches
from flexae_tf.densities.densities import load_run, open_sampler
from flexae_tf.environment import code_version
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.files import write_json
from flexae_tf.image_grid import grid, to_uint8, write_png
from flexae_tf.methods import Method
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run


class Sampler(tf.Module):
    """The signatures of an exported method, all seeded and stateless.

    | signature | in | out |
    |---|---|---|
    | `serving_default` = `sample` | `num` int32 [], `seed` int32 [] | `images` float32 in [0, 1] |
    | `sample_uint8` | the same | `images` uint8, rounded |
    | `latents` | the same | `latents` [num, latent_dim] |
    | `encode` | `images` [n, ...] | `latents` |
    | `decode` | `latents` | `images` |
    | `reconstruct` | `images` | `images` |
    | `interpolate` | `a`, `b` images [n, ...], `steps` int32 [] | `images` [n, steps, ...] |

    For vector data `images` are vectors in the data's own range, and there is no `sample_uint8`.

    Raises:
        UsageError: the method has no prior.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        # Variables, not the Keras model: a process with TensorFlow alone must load them.
        density = method.require_prior().variables
        self._variables = tuple(v.value for v in (*method.weights, *density))
        num = tf.TensorSpec([], tf.int32, name='num')
        seed = tf.TensorSpec([], tf.int32, name='seed')
        images = tf.TensorSpec([None, *method.spec.shape], tf.float32, name='images')
        latents = tf.TensorSpec([None, method.config.latent_dim], tf.float32, name='latents')

        def sample(num: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.sample(num, seed)}

        def sample_uint8(num: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            rounded = tf.round(method.sample(num, seed) * 255.0)
            return {'images': tf.cast(rounded, tf.uint8)}

        def draw_latents(num: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'latents': method.sample_latent(num, seed)}

        def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'latents': method.encode(images)}

        def decode(latents: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.decode(latents)}

        def reconstruct(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.reconstruct(images)}

        def interpolate(a: tf.Tensor, b: tf.Tensor, steps: tf.Tensor) -> dict[str, tf.Tensor]:
            """Decoded points of the straight line between two codes, both ends included."""
            start, end = method.encode(a)[:, None], method.encode(b)[:, None]
            weights = tf.linspace(0.0, 1.0, steps)[None, :, None]
            line = start + weights * (end - start)  # [n, steps, latent_dim]
            flat = method.decode(tf.reshape(line, [-1, line.shape[-1]]))
            shape = tf.concat([[tf.shape(a)[0], steps], method.spec.shape], axis=0)
            return {'images': tf.reshape(flat, shape)}

        self.sample = tf.function(sample, input_signature=[num, seed])
        self.latents = tf.function(draw_latents, input_signature=[num, seed])
        self.encode = tf.function(encode, input_signature=[images])
        self.decode = tf.function(decode, input_signature=[latents])
        self.reconstruct = tf.function(reconstruct, input_signature=[images])
        ends = [tf.TensorSpec(images.shape, tf.float32, name=name) for name in ('a', 'b')]
        steps = tf.TensorSpec([], tf.int32, name='steps')
        self.interpolate = tf.function(interpolate, input_signature=[*ends, steps])
        if method.spec.kind == 'images':
            self.sample_uint8 = tf.function(sample_uint8, input_signature=[num, seed])

    def save(self, folder: str | os.PathLike, *, card: dict | None = None) -> None:
        """Writes the SavedModel to `folder`, which appears whole or not at all.

        Args:
            folder: a new folder.
            card: what the model is, written beside it as `model_card.json`.

        Raises:
            UsageError: the folder exists, or cannot be written.
        """
        folder = pathlib.Path(folder)
        if folder.exists():
            raise UsageError(f'{folder} exists: remove it, or give another --export_dir')
        names = [
            'sample',
            'sample_uint8',
            'latents',
            'encode',
            'decode',
            'reconstruct',
            'interpolate',
        ]
        signatures = {name: getattr(self, name) for name in names if hasattr(self, name)}
        temporary = folder.with_name(f'.{folder.name}-{uuid.uuid4().hex[:8]}')
        try:
            tf.saved_model.save(
                self, str(temporary), signatures={'serving_default': self.sample, **signatures}
            )
            if card:
                write_json(temporary / 'model_card.json', card)
            os.rename(temporary, folder)
        except (OSError, tf.errors.OpError) as error:
            raise UsageError(
                f'{folder} cannot be written ({error}): give another --export_dir'
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def export(config: ExportConfig) -> None:
    """The export program: a run's checkpoint to a SavedModel with its model card."""
    print(distribution.choose_devices(config.device), flush=True)
    run = open_sampler(config.workdir, config.checkpoint, config.density)
    name = f'{run.step:09d}' + (f'-{config.density}' if config.density else '')
    folder = pathlib.Path(config.export_dir or run.workdir.path / 'export' / name)
    Sampler(run.method).save(folder, card=model_card(run))
    print(f'exported step {run.step} to {folder}')


def model_card(run: Run) -> dict:
    """What a SavedModel is: configuration, data, step, digests, code version."""
    return {
        'config': dataclasses.asdict(run.config),
        'data': dataclasses.asdict(run.spec),
        'step': run.step,
        'checkpoint': run.digest,
        'density': run.density,
        'code': code_version(),
        'tensorflow': tf.__version__,
    }


def sample(config: SampleConfig) -> None:
    """The sampling program: images of a run or of an export to a PNG grid or an .npz file."""
    print(distribution.choose_devices(config.device), flush=True)
    output = pathlib.Path(config.output_file)
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise UsageError(f'{output} cannot be written: give a file in a folder that can')
    draw_latents, decode = _functions(config)
    z = draw_latents(config.num_samples, config.sample_seed).numpy()
    x = map_batches(decode, z, config.batch_size)
    if x.ndim == 4:
        x = to_uint8(x)
    try:
        if config.output_file.endswith('.npz'):
            np.savez_compressed(config.output_file, images=x, latents=z)
        elif x.ndim == 4:
            write_png(config.output_file, grid(x))
        else:
            raise UsageError('the samples are vectors: write them to an .npz file')
    except OSError as error:
        raise UsageError(f'{config.output_file} cannot be written ({error.strerror})') from None
    print(f'wrote {len(x)} samples to {config.output_file}')


def _functions(config: SampleConfig) -> tuple:
    """`(num, seed) -> latents` and `latents -> images` of a workdir or a SavedModel."""
    source = pathlib.Path(config.source)
    if (source / 'config.json').exists():
        method = load_run(source, config.checkpoint, config.density)
        return method.sample_latent, tf.function(method.decode)
    if not (source / 'saved_model.pb').exists():
        raise MissingDataError(f'{source} is neither a run nor a SavedModel: check --source')
    if config.checkpoint != 'last':
        raise UsageError(f'--checkpoint={config.checkpoint}: {source} is an export, one step only')
    if config.density:
        raise UsageError(f'--density={config.density}: {source} is an export, which has its own')
    try:
        loaded = tf.saved_model.load(str(source))
        latents, decode = loaded.signatures['latents'], loaded.signatures['decode']
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise MissingDataError(f'{source} is not an export of flexae_tf ({error})') from None
    return (
        lambda num, seed: latents(num=tf.constant(num), seed=tf.constant(seed))['latents'],
        lambda z: decode(latents=z)['images'],
    )
