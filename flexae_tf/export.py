"""Export of a trained method to a SavedModel that needs only TensorFlow."""

import dataclasses
import os
import pathlib
import shutil
import uuid
from typing import Any

import tensorflow as tf

from flexae_tf import shutdown
from flexae_tf.checked_files import write_json, write_manifest
from flexae_tf.config import ExportConfig
from flexae_tf.data.batches import as_float
from flexae_tf.densities import densities
from flexae_tf.environment import code_version
from flexae_tf.errors import UsageError, first_line
from flexae_tf.files import tensorflow_path
from flexae_tf.methods.base import Method
from flexae_tf.priors import TransformedNormal
from flexae_tf.training import distribution
from flexae_tf.training.restore import Run

SIGNATURES = (
    *('sample', 'sample_uint8', 'latents'),
    *('encode', 'encode_uint8', 'decode', 'decode_noise'),
    *('reconstruct', 'reconstruct_uint8', 'interpolate'),
)
OUTSIDE = 'images: values outside [0, 1]. Divide them by 255, or use a signature for uint8 images.'


class Sampler(tf.Module):
    """The signatures of an exported method, all stateless.

    | signature | inputs | outputs |
    |---|---|---|
    | `serving_default` = `sample` | `num` int32 [], `seed` int32 [] | `images` float32 in [0, 1] |
    | `sample_uint8` | the same | `images` uint8, rounded |
    | `latents` | the same | `latents` [num, latent_dim] |
    | `encode` | `images` [n, ...] | `latents` |
    | `decode` | `latents` | `images` |
    | `decode_noise` | `noise` [n, noise_dim] | `images`, samples if `noise` ~ N(0, I) |
    | `reconstruct` | `images` | `images` |
    | `interpolate` | `a`, `b` images [n, ...], `steps` int32 [] | `images` [n, steps, ...] |
    | `encode_uint8`, `reconstruct_uint8` | `images` uint8 | `latents`; `images` uint8, rounded |

    Equal seeds give equal samples. For vector data `images` are vectors in the data's own range,
    and no signature has uint8. `decode_noise` has neither random numbers nor 64-bit integers, so
    that LiteRT and ONNX can run it. Only a prior that is a `TransformedNormal` has it.

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
            return {'images': _to_uint8(method.sample(num, seed))}

        def sample_latents(num: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'latents': method.sample_latent(num, seed)}

        def encode_checked(images: tf.Tensor) -> tf.Tensor:
            # A signature converts uint8 arrays of NumPy to float32 without scaling them.
            if method.spec.kind == 'images':
                inside = tf.reduce_all(tf.abs(images - 0.5) < 0.501)
                tf.debugging.Assert(inside, [OUTSIDE])
            return method.encode(images)

        def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'latents': encode_checked(images)}

        def encode_uint8(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'latents': method.encode(as_float(images))}

        def decode(latents: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.decode(latents)}

        def decode_noise(noise: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.decode(prior.transform(noise))}

        def reconstruct(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': method.decode(encode_checked(images))}

        def reconstruct_uint8(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {'images': _to_uint8(method.reconstruct(as_float(images)))}

        def interpolate(a: tf.Tensor, b: tf.Tensor, steps: tf.Tensor) -> dict[str, tf.Tensor]:
            """Decodes equally spaced points between two codes, both ends included."""
            tf.debugging.assert_equal(tf.shape(a)[0], tf.shape(b)[0], 'a, b: different numbers.')
            start, end = encode_checked(a)[:, None], encode_checked(b)[:, None]
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
        if isinstance(prior, TransformedNormal):
            noise = tf.TensorSpec([None, prior.noise_dim], tf.float32, name='noise')
            self.decode_noise = tf.function(decode_noise, input_signature=[noise])
        if method.spec.kind == 'images':
            uint8 = tf.TensorSpec(images.shape, tf.uint8, name='images')
            self.sample_uint8 = tf.function(sample_uint8, input_signature=[num, seed])
            self.encode_uint8 = tf.function(encode_uint8, input_signature=[uint8])
            self.reconstruct_uint8 = tf.function(reconstruct_uint8, input_signature=[uint8])

    def save(self, folder: str | os.PathLike, *, card: dict | None = None) -> None:
        """Writes the SavedModel and `manifest.json`, with the checksums of its files, atomically.

        Args:
            folder: a new folder.
            card: description of the model, stored in `model_card.json`; None for no such file.

        Raises:
            UsageError: the folder exists or is not writable.
        """
        folder = pathlib.Path(folder)
        _check_new(folder)
        signatures = {name: getattr(self, name) for name in SIGNATURES if hasattr(self, name)}
        for function in signatures.values():
            shutdown.check('between signatures')
            function.get_concrete_function()  # the slow part, before anything is written
        temporary = folder.with_name(f'.export-{uuid.uuid4().hex[:8]}')
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tensorflow_path(folder.parent) as parent:
                tf.saved_model.save(
                    self,
                    os.path.join(parent, temporary.name),
                    signatures={'serving_default': self.sample, **signatures},
                )
            if card:
                write_json(temporary / 'model_card.json', card)
            write_manifest(temporary)
            os.rename(temporary, folder)
        except (OSError, tf.errors.OpError) as error:
            _check_new(folder)  # another export may have written it meanwhile
            raise UsageError(
                f'{folder}: not writable ({first_line(error)}). Use another --export_dir.'
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
    prior = run.method.require_prior()
    decode_noise = f'none: {type(prior).__name__} is no function of normal noise'
    if isinstance(prior, TransformedNormal):
        decode_noise = f'noise [n, {prior.noise_dim}] ~ N(0, I) -> images'
    return {
        'config': dataclasses.asdict(run.config),
        'data': dataclasses.asdict(run.spec),
        'step': run.step,
        'checkpoint': run.digest,
        'density': run.density,
        'decode_noise': decode_noise,
        'code': code_version(),
        'tensorflow': tf.__version__,
    }


def _check_new(folder: pathlib.Path) -> None:
    """Raises `UsageError` if there is anything in the place of a new folder."""
    if os.path.lexists(folder):
        raise UsageError(f'{folder}: already exists. Remove it, or use another --export_dir.')


def _to_uint8(images: tf.Tensor) -> tf.Tensor:
    """Converts images in [0, 1] like `image_grid.to_uint8`."""
    return tf.cast(tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255.0), tf.uint8)
