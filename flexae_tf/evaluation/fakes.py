"""Scores of images of any generator, read from files, under the protocol of any real side.

The real side is the data of a run, a data set, images from files, or their statistics. The scores
are not stored with the scores of a run.
"""

import dataclasses
import math
import os
import pathlib
import time
from typing import NamedTuple

import numpy as np

from flexae_tf import data
from flexae_tf.config import EvaluateConfig, TrainConfig
from flexae_tf.data import Purpose, fingerprint, fixed_permutation
from flexae_tf.errors import UsageError
from flexae_tf.evaluation import image_files, image_sets, references, scoring, statistics_file
from flexae_tf.evaluation.context import prepare
from flexae_tf.evaluation.image_files import ImageFiles
from flexae_tf.evaluation.image_sets import ImageSet, ModelId
from flexae_tf.evaluation.references import Reference
from flexae_tf.evaluation.score_log import requested_network
from flexae_tf.metrics import table
from flexae_tf.metrics.protocol import Protocol, raw_protocol


class RealSide(NamedTuple):
    """The real side of the scores.

    Attributes:
        protocol: protocol of scores on raw values, against all available examples.
        x: the examples [n, ...]; None if only their statistics are known.
        measured: protocol of the statistics; None if there are examples, or if the statistics do
            not state their protocol.
    """

    protocol: Protocol
    x: np.ndarray | None = None
    measured: Protocol | None = None

    def take(self, num: int) -> 'RealSide':
        """Returns the side with its first `num` examples."""
        x = None if self.x is None else self.x[:num]
        changes = {} if x is None or self.protocol.data is None else {'data': fingerprint(x)}
        return self._replace(protocol=dataclasses.replace(self.protocol, num=num, **changes), x=x)


def evaluate_fakes(config: EvaluateConfig) -> None:
    """Scores `--fake`. Records go only to `--output_file`.

    Raises:
        UserError: an error that the user can fix.
        Interrupted: a signal was received.
    """
    for name in config.metric_names():
        if table.find(name).compares != 'features':
            raise UsageError(f'--metrics={name}: needs the sets of a run. Leave it out.')
    image_files.check_options(
        [pathlib.Path(p) for p in (config.real, config.fake, _own_images(config)) if p],
        value_range=config.value_range,
        skip_bad_images=config.skip_bad_images,
    )
    started = time.monotonic()

    # 1. As many examples on both sides.
    available = _real_side(config)
    _check_size(config, available)
    files = _fakes(config, available)
    num = _common_number(config, available, len(files.x))
    real, fake = available.take(num), _in_file_order(files.x, num)

    # 2. The feature space.
    images = real.protocol.features != 'vectors'
    context = prepare(config, None, images=images, measured=real.measured)
    reference = references.example_reference(context, real.protocol, real.x)
    if files.resize_to:
        protocol = dataclasses.replace(reference.protocol, resize_to=files.resize_to)
        reference = dataclasses.replace(reference, protocol=protocol)
    fake = _in_shape_of(real, reference, fake, raw=context.network is None, path=config.fake)

    # 3. The scores of both; further real images are a practical lower bound.
    model = ModelId(checkpoint=fingerprint(fake))
    generated = ImageSet('fake', 'images', model, lambda _: fake, source=config.fake)
    scoring.score(context, generated, reference)
    if config.real and len(available.x) < 2 * num:
        print(f'real images are not scored: {2 * num} images needed', flush=True)
    elif config.real:
        others = available.x[num : 2 * num]
        further = ImageSet('real', 'further real images', ModelId(), lambda _: others)
        scoring.score(context, further, reference)

    context.log.complete(
        step=model.step,
        checkpoint=model.checkpoint,
        network=requested_network(config) if context.network else None,
        seconds=time.monotonic() - started,
    )


def _real_side(config: EvaluateConfig) -> RealSide:
    """Returns the real side that the options name; of `--real` twice as many images."""
    if config.real:
        x, decoder, resize_to, _ = _load(config, 'real', 2 * config.num_examples)
        fields = dict(data=fingerprint(x), decoder=decoder, resize_to=resize_to)
        return RealSide(Protocol(dataset='folder', split='all', num=len(x), **fields), x)
    if config.workdir or config.dataset:
        run_config, dataset = (
            image_sets.data_of_run(config) if config.workdir else _data_by_name(config)
        )
        x = image_sets.real_examples(dataset, config.split, config.num_examples)
        return RealSide(raw_protocol(run_config, dataset.spec, split=config.split, x=x), x)
    statistics = statistics_file.read_statistics(
        config.reference_statistics, allow_unverified=config.allow_unverified_statistics
    )
    if statistics.protocol:
        return RealSide(statistics.protocol.raw(), measured=statistics.protocol)
    unknown = Protocol(
        dataset='unverified',
        split='unverified',
        num=config.num_examples,
        statistics=statistics.digest,
    )
    return RealSide(unknown)


def _data_by_name(config: EvaluateConfig) -> tuple[TrainConfig, data.Dataset]:
    """Returns the data set `--dataset` with the default options of a training."""
    own = _own_images(config) or ''
    run_config = TrainConfig(
        dataset=config.dataset,
        data_dir=config.data_dir,
        value_range=config.value_range if os.path.isfile(own) else None,
        skip_bad_images=config.skip_bad_images and os.path.isdir(own),
        batch_size=2,
    )
    return run_config, data.load(run_config)


def _own_images(config: EvaluateConfig) -> str | None:
    """Returns `--data_dir` if it is the user's own images; None for other data sets and runs."""
    return config.data_dir if config.dataset == 'folder' else None


def _fakes(config: EvaluateConfig, real: RealSide) -> ImageFiles:
    """Returns the images or vectors of `--fake`, at most as many as are scored."""
    num = real.measured.num if real.measured else config.num_examples
    if real.protocol.features == 'vectors':
        x = image_files.load_vectors(pathlib.Path(config.fake), flag='--fake', max_vectors=num)
        return ImageFiles(x, decoder=None, resize_to=None)
    files = _load(config, 'fake', num)
    if real.measured:
        # Other sides are decoded and resized by this package, in the same way.
        for name in ('decoder', 'resize_to'):
            ours, theirs = getattr(files, name), getattr(real.measured, name)
            if theirs and not files.bits:  # files of 8 bits have no scale of their own
                theirs = theirs.partition(image_files.OF_BITS)[0]
            if ours and theirs and ours != theirs:
                raise UsageError(
                    f'--reference_statistics={config.reference_statistics}: {name} was {theirs}, '
                    f'for --fake it is {ours}. Make both equal.'
                )
        if real.measured.resize_to and not files.resize_to:
            side = int(real.measured.resize_to.rpartition('_')[2])
            if files.x.shape[1:3] != (side, side):
                raise UsageError(
                    f'--fake={config.fake}: images of {files.x.shape[1]}x{files.x.shape[2]}, but '
                    f'--reference_statistics describes {side}x{side}. Add --resize_to={side}.'
                )
    return files


def _check_size(config: EvaluateConfig, real: RealSide) -> None:
    """Raises `UsageError` if `--resize_to` would resize only the fakes."""
    side = config.resize_to
    if side and not config.real and real.x is not None and real.x.shape[1:3] != (side, side):
        size = 'x'.join(map(str, real.x.shape[1:3]))
        raise UsageError(
            f'--resize_to={side}: resizes --fake and --real, but the real examples are {size}. '
            'Use their size, or leave it out.'
        )


def _load(config: EvaluateConfig, flag: str, max_images: int) -> ImageFiles:
    path, other = (getattr(config, name) for name in (flag, *({'real', 'fake'} - {flag})))
    return image_files.load(
        pathlib.Path(path),
        flag=f'--{flag}',
        max_images=max_images,
        value_range=config.value_range,
        resize_to=config.resize_to,
        skip_bad_images=config.skip_bad_images,
        like=pathlib.Path(other) if other else None,
    )


def _common_number(config: EvaluateConfig, real: RealSide, num_fakes: int) -> int:
    """Returns the number of examples on each side.

    Raises:
        UsageError: fewer than two, or fewer than statistics describe.
    """
    if real.measured:
        num = real.measured.num
        if 'num_examples' in config.changed() and config.num_examples != num:
            raise UsageError(
                f'--num_examples={config.num_examples}: --reference_statistics describes {num} '
                'examples. Leave it out.'
            )
        if num_fakes < num:
            raise UsageError(
                f'--fake={config.fake}: {num_fakes} images, but --reference_statistics describes '
                f'{num} examples. Add images, or write statistics of {num_fakes} examples.'
            )
        return num
    num_real = config.num_examples if real.x is None else len(real.x)
    num = min(config.num_examples, num_real, num_fakes)
    if num < 2:
        raise UsageError(
            f'--fake={config.fake}: {num_fakes} images to compare with {num_real} real ones, but '
            'at least 2 images are needed in each. Add images.'
        )
    if real.x is None and num_fakes < config.num_examples:
        print(f'{num_fakes} examples in --fake; the statistics are used unchanged', flush=True)
    elif num_fakes < min(config.num_examples, num_real):
        print(
            f'{num_fakes} examples in --fake, so only {num} real ones are used: another protocol '
            f'than with {min(config.num_examples, num_real)}',
            flush=True,
        )
    return num


def _in_file_order(x: np.ndarray, num: int) -> np.ndarray:
    """Returns the first `num` images of a path in the order of their files.

    Some metrics depend on the order. So samples of a run have the same scores from files as in the
    run. If the path holds more images than `x`, the result has another fixed order.

    Args:
        x: images in the order of `image_files.load`.
        num: number of images.
    """
    return x[np.argsort(fixed_permutation(len(x), Purpose.EVALUATION)[:num])]


def _in_shape_of(
    real: RealSide, reference: Reference, fake: np.ndarray, *, raw: bool, path: str
) -> np.ndarray:
    """Returns the fakes with as many channels as the real examples have, if these are equivalent.

    Grey images have one channel or, read from PNG files, three equal ones.

    Args:
        real: the real side.
        reference: the real side in the feature space.
        fake: examples to score [n, ...].
        raw: whether raw values are compared, so that shapes must be equal.
        path: value of `--fake`, for the error message.

    Raises:
        UsageError: the shapes differ and `raw` is on.
    """
    if real.x is not None:
        shape = real.x.shape[1:]
    elif raw and fake.ndim == 2:
        shape = (reference.features.mean.size,)
    elif raw:
        size, side = reference.features.mean.size, fake.shape[1:3]
        if size % math.prod(side):
            raise UsageError(
                f'--fake={path}: shape {list(fake.shape[1:])}, but real examples have {size} '
                'values. Make the shapes equal or use --features=inception.'
            )
        shape = (*side, size // math.prod(side))
    else:
        return fake
    if fake.ndim == 4:
        if fake.shape[3] == 1 and shape[2] == 3:
            fake = np.repeat(fake, 3, axis=3)
        elif shape[2] == 1 and (fake == fake[..., :1]).all():
            fake = fake[..., :1]
    if raw and fake.shape[1:] != shape:
        action = ' or use --features=inception' if fake.ndim == 4 else ''
        raise UsageError(
            f'--fake={path}: shape {list(fake.shape[1:])}, but real examples have '
            f'{list(shape)}. Make the shapes equal{action}.'
        )
    return fake
