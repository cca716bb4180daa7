"""Sets of a run that are scored with re-estimated averages of batch norm."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flexae_tf import shutdown
from flexae_tf.data.batches import as_float
from flexae_tf.data.stored_rows import StoredRows
from flexae_tf.errors import UsageError
from flexae_tf.evaluation.image_sets import ImageSet
from flexae_tf.evaluation.references import Reference
from flexae_tf.networks.batch_norm import (
    moving_averages,
    pooled_moments,
    preserve_moving_averages,
    set_moving_averages,
)
from flexae_tf.training.restore import Run


class Comparison(NamedTuple):
    """A set of a run and the real sides that it is compared with."""

    image_set: ImageSet
    references: Sequence[Reference]


def recalibrated(
    run: Run, x: np.ndarray | StoredRows, comparisons: Sequence[Comparison], num_batches: int
) -> list[Comparison]:
    """Returns the same comparisons with re-estimated averages.

    A density that was fitted to codes of the stored averages does not match the codes of the
    re-estimated ones, so samples and codes of a fitted density are left out. The method's own prior
    needs no such exception: it was trained with codes of batch statistics, and pseudo-inputs are
    encoded with the re-estimated averages.

    Args:
        run: run opened at one checkpoint. It has the re-estimated averages only while a set or the
            codes of real examples are computed.
        x: its training examples [n, ...].
        comparisons: the comparisons with the stored averages.
        num_batches: number of batches of the run's batch size to estimate from.

    Raises:
        UsageError: networks without batch norm, too few examples, or no comparison is left.
    """
    flag = f'--recalibrate_batch_norm={num_batches}'
    if not moving_averages(run.method.encoder) + moving_averages(run.method.decoder):
        raise UsageError(f'{flag}: the networks of this run have no batch norm. Leave it out.')
    available = len(x) // run.config.batch_size
    if num_batches > available:
        raise UsageError(
            f'{flag}: the run has {available} batches of {run.config.batch_size} training '
            f'examples. Use at most {available}.'
        )
    kept = [c for c in comparisons if c.image_set.name == 'reconstructions' or not run.density]
    left_out = ', '.join(c.image_set.name for c in comparisons if c not in kept)
    reason = f'{run.density} is fitted to codes of the stored averages'
    if not kept:
        because = f', because {reason}' if left_out else ''
        raise UsageError(
            f'{flag}: no set of --sets can be scored with other averages{because}. Add '
            'reconstructions to --sets, or leave the flag out.'
        )
    if left_out:
        print(f'{flag}: not for {left_out}, because {reason}', flush=True)
    return list(map(_Averages(run, x, num_batches).apply, kept))


class _Averages:
    """The re-estimated averages of a run, computed when they are first used.

    1. The encoder's averages become the moments of the first `num_batches` batches of `x`, which is
       in random order and does not depend on the scored examples.
    2. The decoder's averages become the moments of samples from the posteriors of the same
       examples, because training decodes such samples. Without noise in the encoder they are the
       codes. The encoder uses its new averages for them, not batch statistics, because scored
       reconstructions are decoded from such codes.
    """

    def __init__(self, run: Run, x: np.ndarray | StoredRows, num_batches: int) -> None:
        self._run, self._x, self._num_batches = run, x, num_batches

    def apply(self, comparison: Comparison) -> Comparison:
        """Returns a comparison with the re-estimated averages."""
        image_set, references = comparison
        if image_set.name == 'latents':  # its real side depends on the encoder, too
            references = [
                dataclasses.replace(reference, make=self._used_by(reference.make))
                for reference in references
            ]
        image_set = dataclasses.replace(
            image_set,
            label=f'{image_set.label} with re-estimated averages',
            model=image_set.model._replace(batch_norm=f'recalibrated_{self._num_batches}'),
            make=self._used_by(image_set.make),
        )
        return Comparison(image_set, references)

    def _used_by(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function with the re-estimated averages in the networks while it runs."""
        encoder, decoder = self._run.method.encoder, self._run.method.decoder

        def run(*args: Any) -> Any:
            of_encoder, of_decoder = self._values
            with preserve_moving_averages(encoder), preserve_moving_averages(decoder):
                set_moving_averages(encoder, of_encoder)
                set_moving_averages(decoder, of_decoder)
                return function(*args)

        return run

    @functools.cached_property
    def _values(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The averages of encoder and decoder."""
        method, num = self._run.method, self._num_batches * self._run.config.batch_size
        print(
            f'averages of batch norm at step {self._run.step}: estimated from {num} training '
            'examples',
            flush=True,
        )
        of_encoder = pooled_moments(method.encoder, self._batches())
        with preserve_moving_averages(method.encoder):
            set_moving_averages(method.encoder, of_encoder)
            sample = method.traced.sample_posterior
            codes = (sample(x, tf.constant(seed)) for seed, x in enumerate(self._batches()))
            return of_encoder, pooled_moments(method.decoder, codes)

    def _batches(self) -> Iterator[tf.Tensor]:
        """Yields the batches of training examples, float32 [batch_size, ...]."""
        size = self._run.config.batch_size
        for start in range(0, self._num_batches * size, size):
            shutdown.check()
            yield as_float(tf.constant(self._x[start : start + size]))
