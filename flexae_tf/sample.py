"""The sample program: samples of a run or of an export as PNG files or arrays."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from flexae_tf import shutdown
from flexae_tf.checked_files import check_manifest
from flexae_tf.config import SampleConfig
from flexae_tf.data.batches import iterate_batches
from flexae_tf.densities import densities, fit_program
from flexae_tf.errors import MissingDataError, NonFiniteLossError, UsageError
from flexae_tf.evaluation import network_files
from flexae_tf.files import atomic_path, tensorflow_path
from flexae_tf.image_grid import grid, to_uint8, too_large, write_png
from flexae_tf.training import distribution
from flexae_tf.training.restore import open_run

# Inputs and output of the signatures of an export that are used.
SIGNATURES = {'latents': ({'num', 'seed'}, 'latents'), 'decode': ({'latents'}, 'images')}


def sample(config: SampleConfig) -> None:
    """Writes samples to `--output_file` or as single images to `--output_dir`.

    Images are rounded as in an evaluation.

    Raises:
        UsageError: the output is not writable, the folder is not empty, or the samples are vectors
            and a PNG file was requested.
        MissingDataError: the source is neither a run nor an export, or its density is missing.
        NonFiniteLossError: a sample is not finite. Nothing is written.
        Interrupted: a signal was received. Nothing is written.
        UserError: as `open_sampler`, and with `--fit_missing` as the fit program.
    """
    strategy = distribution.prepare_devices(config.device, config.distribution)
    output = _prepare_output(config)
    sample_latents, decode = _open_source(config, strategy)
    z = sample_latents(config.num_samples, config.sample_seed).numpy()
    _check(z, config.num_samples, config)
    batches = _examples(decode, z, config)
    with _write_errors(config):
        if config.output_dir:
            _write_images(output, batches, len(z))
        else:
            _write_file(output, np.concatenate(list(batches)), z)
    print(f'wrote {len(z)} samples to {output}')


def _prepare_output(config: SampleConfig) -> pathlib.Path:
    """Returns the path to write to, which is writable; makes `--output_dir`."""
    output = pathlib.Path(config.output_file or config.output_dir)
    folder = output.parent if config.output_file else output
    with _write_errors(config):
        if config.output_dir:
            folder.mkdir(parents=True, exist_ok=True)
            _check_empty(folder)
        if not os.access(folder, os.W_OK):
            raise OSError(0, 'no such folder or no permission')
    return output


def _check_empty(folder: pathlib.Path) -> None:
    if any(not path.name.startswith('.') for path in folder.iterdir()):
        raise UsageError(f'--output_dir={folder}: not empty. Use another folder.')


@contextlib.contextmanager
def _write_errors(config: SampleConfig) -> Iterator[None]:
    """Turns an `OSError` into a `UsageError`."""
    flag = 'output_file' if config.output_file else 'output_dir'
    try:
        yield
    except OSError as error:
        raise UsageError(
            f'--{flag}={getattr(config, flag)}: not writable ({error.strerror}). Use another path.'
        ) from None


def _examples(
    decode: Callable[[tf.Tensor], tf.Tensor], z: np.ndarray, config: SampleConfig
) -> Iterator[np.ndarray]:
    """Yields batches of uint8 images [n, h, w, c], or of float32 vectors."""
    left = len(z)
    for x in iterate_batches(decode, z, config.batch_size):
        _check(x, min(left, config.batch_size), config)
        left -= len(x)
        if x.ndim != 4 and not str(config.output_file).endswith('.npz'):
            raise UsageError(
                f'--source={config.source}: the samples are vectors, not images. Use '
                '--output_file=samples.npz.'
            )
        if str(config.output_file).endswith('.png') and too_large(len(z), x.shape[1:]):
            raise UsageError(
                f'--num_samples={len(z)}: too many for one PNG file. Use --output_dir, or '
                '--output_file=samples.npz.'
            )
        yield to_uint8(x) if x.ndim == 4 else x


def _check(values: np.ndarray, num: int, config: SampleConfig) -> None:
    """Raises `UserError` unless there are `num` vectors or images of finite values."""
    shape = values.shape
    is_image = len(shape) == 4 and shape[3] in (1, 3)
    if not (is_image or len(shape) == 2) or shape[0] != num or 0 in shape:
        raise _wrong_shape(config.source, shape, num)
    if not np.isfinite(values).all():
        raise NonFiniteLossError(
            f'--source={config.source}: samples of the model are not finite. Use an earlier '
            'checkpoint.'
        )


def _wrong_shape(source: str, shape: Sequence[int], num: int) -> MissingDataError:
    return MissingDataError(
        f'--source={source}: returned {list(shape)}, not {num} samples. Export the model again.'
    )


def _write_file(path: pathlib.Path, x: np.ndarray, z: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        if path.suffix == '.npz':
            np.savez_compressed(temporary, images=x, latents=z)
        else:
            write_png(temporary, grid(x))


def _write_images(folder: pathlib.Path, batches: Iterator[np.ndarray], num: int) -> None:
    """Writes 000000.png, 000001.png, ...: all of them, or none."""
    digits = max(6, len(str(num - 1)))
    with tempfile.TemporaryDirectory(dir=folder, prefix='.writing-') as temporary:
        names = []
        for x in batches:
            for image in x:
                names.append(f'{len(names):0{digits}}.png')
                write_png(pathlib.Path(temporary, names[-1]), image)
        with shutdown.deferred():
            _check_empty(folder)  # another program may have written to it meanwhile
            for name in names:
                os.rename(os.path.join(temporary, name), folder / name)


def _open_source(
    config: SampleConfig, strategy: tf.distribute.Strategy
) -> tuple[Callable, Callable]:
    """Returns `(num, seed) -> latents` and `latents -> images` of a workdir or a SavedModel.

    Only the decoder of a workdir uses several devices.
    """
    source = pathlib.Path(config.source)
    if (source / 'config.json').exists():
        run = open_run(source, config.checkpoint, strategy=strategy)
        if config.fit_missing:
            run = fit_program.fit_missing(run, config.density, data_dir=config.data_dir)
        else:
            run = densities.attach(run, config.density)
        return run.method.sample_latent, run.method.traced.decode
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
    return _load_export(source)


def _load_export(source: pathlib.Path) -> tuple[Callable, Callable]:
    """Returns the same functions of a SavedModel."""
    check_manifest(source, cure='Export the model again')
    try:
        network_files.saved_model_files(source)
        with tensorflow_path(source) as path:
            model = tf.saved_model.load(path)
        for name, (inputs, output) in SIGNATURES.items():
            signature = model.signatures[name]
            found = set(signature.structured_input_signature[1])
            if found != inputs or signature.structured_outputs[output].dtype != tf.float32:
                raise ValueError(f'signature {name} has other inputs or outputs')
    except tf.errors.ResourceExhaustedError:
        raise
    except Exception as error:  # TensorFlow raises many kinds of errors
        raise MissingDataError(
            f'--source={source}: not an export of flexae_tf ({network_files.one_line(error)}). '
            'Check the path.'
        ) from None

    # The functions hold `model`, which owns the variables.
    def call(name: str, **arguments: tf.Tensor) -> tf.Tensor:
        try:
            return model.signatures[name](**arguments)[SIGNATURES[name][1]]
        except tf.errors.ResourceExhaustedError:
            raise
        except (TypeError, ValueError, tf.errors.OpError) as error:
            raise MissingDataError(
                f'--source={source}: signature {name} fails ({network_files.one_line(error)}). '
                'Export the model again.'
            ) from None

    def sample_latents(num: int, seed: int) -> tf.Tensor:
        return call('latents', num=tf.constant(num), seed=tf.constant(seed))

    def decode(z: tf.Tensor) -> tf.Tensor:
        x = call('decode', latents=z)
        if x.shape[:1] != z.shape[:1]:
            raise _wrong_shape(os.fspath(source), x.shape, len(z))
        return x

    return sample_latents, decode
