"""Export of a trained method to a SavedModel that needs only TensorFlow, and the sample program."""

import dataclasses
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from flexae_tf.config import ExportConfig, SampleConfig
from flexae_tf.data.batches import map_batches
from flexae_tf.densities import densities, fit_program
from flexae_tf.environment import code_version
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.files import write_json
from flexae_tf.image_grid import grid, to_uint8, write_png
from flexae_tf.methods.base import Method
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run, open_run

SIGNATURES = (
    *('sample', 'sample_uint8', 'latents'),
    *('encode', 'decode', 'reconstruct', 'interpolate'),
)


class Sampler(tf.Module):
    """The signatures of an exported method, all stateless.

    | signature | inputs | outputs |
    |---|---|---|
    | `serving_default` = `sample` | `num` int32 [], `seed` int32 [] | `images` float32 in [0, 1] |
    | `sample_uint8` | the same | `images` uint8, rounded |
    | `latents` | the same | `latents` [num, latent_dim] |
    | `encode` | `images` [n, ...] | `latents` |
    | `decode` | `latents` | `images` |
    | `reconstruct` | `images` | `images` |
    | `interpolate` | `a`, `b` images [n, ...], `steps` int32 [] | `images` [n, steps, ...] |

    Equal seeds give equal samples. For vector data `images` are vectors in the data's own range,
    and there is no `sample_uint8`.

    Args:
        method: a trained method; a density attached to it is exported with it.

    Raises:
        UsageError: the method has no prior.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        # Variables instead of the Keras model, because loading must not need Keras.
        prior = method.require_prior()
        self._variables = tuple(v.value for v in (*method.weights, *prior.variables))
        num = tf.TensorSpec([], tf.int32, name='num')
        seed = tf.TensorSpec([], tf.int32, name='seed')
        images = tf.TensorSpec([None, *method.spec.shape], tf.float32, name='images')
        latents = tf.TensorSpec([None, method.config.latent_dim], tf.float32, name='latents')

        def sample(num: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.sample(num, seed)}

        def sample_uint8(num: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            rounded = tf.round(method.sample(num, seed) * 255.0)
            return {'images': tf.cast(rounded, tf.uint8)}

        def sample_latents(num: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'latents': method.sample_latent(num, seed)}

        def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'latents': method.encode(images)}

        def decode(latents: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.decode(latents)}

        def reconstruct(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.reconstruct(images)}

        def interpolate(a: tf.Tensor, b: tf.Tensor, steps: tf.Tensor) -> dict[str, tf.Tensor]:
            """Decodes equally spaced points between two codes, both ends included."""
            start, end = method.encode(a)[:, None], method.encode(b)[:, None]
            weights = tf.linspace(0.0, 1.0, steps)[None, :, None]
            line = start + weights * (end - start)  # [n, steps, latent_dim]
            flat = method.decode(tf.reshape(line, [-1, line.shape[-1]]))
            shape = tf.concat([[tf.shape(a)[0], steps], method.spec.shape], axis=0)
            return {'images': tf.reshape(flat, shape)}

        self.sample = tf.function(sample, input_signature=[num, seed])
        self.latents = tf.function(sample_latents, input_signature=[num, seed])
        self.encode = tf.function(encode, input_signature=[images])
        self.decode = tf.function(decode, input_signature=[latents])
        self.reconstruct = tf.function(reconstruct, input_signature=[images])
        ends = [tf.TensorSpec(images.shape, tf.float32, name=name) for name in ('a', 'b')]
        steps = tf.TensorSpec([], tf.int32, name='steps')
        self.interpolate = tf.function(interpolate, input_signature=[*ends, steps])
        if method.spec.kind == 'images':
            self.sample_uint8 = tf.function(sample_uint8, input_signature=[num, seed])

    def save(self, folder: str | os.PathLike, *, card: dict | None = None) -> None:
        """Writes the SavedModel atomically.

        Args:
            folder: a new folder.
            card: description of the model, stored in `model_card.json`; None for no such file.

        Raises:
            UsageError: the folder exists or is not writable.
        """
        folder = pathlib.Path(folder)
        if folder.exists():
            raise UsageError(f'{folder}: already exists. Remove it, or use another --export_dir.')
        signatures = {name: getattr(self, name) for name in SIGNATURES if hasattr(self, name)}
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
                f'{folder}: not writable ({error}). Use another --export_dir.'
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def export(config: ExportConfig) -> None:
    """The export program: writes a checkpoint of a run as a SavedModel with a model card.

    Raises:
        MissingDataError: no such checkpoint, or the density is not fitted.
        UserError: as `open_sampler` and `Sampler.save`.
    """
    print(distribution.choose_devices(config.device), flush=True)
    run = densities.open_sampler(config.workdir, config.checkpoint, config.density)
    name = f'{run.step:09d}' + (f'-{config.density}' if config.density else '')
    folder = pathlib.Path(config.export_dir or run.workdir.path / 'export' / name)
    Sampler(run.method).save(folder, card=model_card(run))
    print(f'exported step {run.step} to {folder}')


def model_card(run: Run) -> dict[str, Any]:
    """Returns configuration, data, step, digests and versions of an exported model."""
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
    """The sample program: writes samples of a run or of an export as a PNG grid or an .npz file.

    Raises:
        UsageError: the output file is not writable, or a PNG grid of vectors was requested.
        MissingDataError: the source is neither a run nor an export, or its density is missing.
        UserError: as `open_sampler`, and with `--fit_missing` as the fit program.
    """
    print(distribution.choose_devices(config.device), flush=True)
    output = pathlib.Path(config.output_file)
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise UsageError(f'--output_file={output}: not writable. Use a writable folder.')
    sample_latents, decode = _open_source(config)
    z = sample_latents(config.num_samples, config.sample_seed).numpy()
    x = map_batches(decode, z, config.batch_size)
    if x.ndim == 4:
        x = to_uint8(x)
    try:
        if output.suffix == '.npz':
            np.savez_compressed(output, images=x, latents=z)
        elif x.ndim == 4:
            write_png(output, grid(x))
        else:
            raise UsageError(f'--output_file={output}: the samples are vectors. Use an .npz file.')
    except OSError as error:
        raise UsageError(
            f'--output_file={output}: not writable ({error.strerror}). Use another file.'
        ) from None
    print(f'wrote {len(x)} samples to {output}')


def _open_source(config: SampleConfig) -> tuple[Callable, Callable]:
    """Returns `(num, seed) -> latents` and `latents -> images` of a workdir or a SavedModel."""
    source = pathlib.Path(config.source)
    if (source / 'config.json').exists():
        run = open_run(source, config.checkpoint)
        attach = fit_program.fit_missing if config.fit_missing else densities.attach
        method = attach(run, config.density).method
        return method.sample_latent, tf.function(method.decode)
    if not (source / 'saved_model.pb').exists():
        raise MissingDataError(
            f'--source={source}: neither a run nor a SavedModel. Check the path.'
        )
    for flag, given in (
        (f'--checkpoint={config.checkpoint}', config.checkpoint != 'last'),
        (f'--density={config.density}', config.density),
        ('--fit_missing', config.fit_missing),
    ):
        if given:
            raise UsageError(f'{flag}: {source} is an export of one step and density. Omit it.')
    try:
        loaded = tf.saved_model.load(str(source))
        latents, decode = loaded.signatures['latents'], loaded.signatures['decode']
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise MissingDataError(
            f'--source={source}: not an export of flexae_tf ({error}). Check the path.'
        ) from None
    return (
        lambda num, seed: latents(num=tf.constant(num), seed=tf.constant(seed))['latents'],
        lambda z: decode(latents=z)['images'],
    )
