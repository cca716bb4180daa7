"""Scores of pictures that did not come from here."""

import pathlib
from collections.abc import Callable

import numpy as np

from flexae_tf.config import EvaluateConfig
from flexae_tf.data import Purpose, fingerprint, fixed_permutation, image_folder, npz
from flexae_tf.errors import MissingDataError, UsageError
from flexae_tf.evaluation.judge import Subject
from flexae_tf.evaluation.score_log import ScoreLog
from flexae_tf.evaluation.scorer import Scorer
from flexae_tf.metrics.protocol import Protocol


def compare(config: EvaluateConfig, check: Callable[[], None]) -> None:
    """Scores `fake` against `real`, and as many other real pictures, if there are, as the floor.

    Where there are more than `num_examples`, or more on one side, a random choice is scored, the
    same every time.

    Raises:
        UserError: whatever the user can mend.
    """
    # Twice as many, since others of the real ones are the floor.
    sets = [_load(path, 2 * config.num_examples) for path in (config.real, config.fake)]
    num = min(config.num_examples, *map(len, sets))
    if num < 2:
        raise UsageError(f'{config.real} and {config.fake}: at least 2 pictures are needed in each')
    real, fake = (x[:num] for x in sets)
    path = pathlib.Path(config.output_file) if config.output_file else None
    scorer = Scorer(config, images=True, log=ScoreLog(path), check=check)
    if not scorer.network and real.shape[1:] != fake.shape[1:]:
        raise UsageError(
            f'pictures of {config.real} are {real.shape[1:]}, of {config.fake} {fake.shape[1:]}: '
            'make them alike, or use --features=inception'
        )
    protocol = scorer.protocol(
        Protocol(dataset='folder', split='all', num=num, data=fingerprint(real))
    )
    metrics = scorer.metrics(num)
    judge = scorer.final_judge(protocol, lambda: scorer.real_features(real, what='real pictures'))
    judge.score(
        'fake',
        lambda _: scorer.features(scorer.postprocess_images(fake, protocol), what='fakes'),
        Subject(checkpoint=fingerprint(fake)),  # their own name stands where a run's does
        metrics=metrics,
    )
    others = sets[0][num : 2 * num]
    if len(others) < num:
        print(f'no floor: it needs {2 * num} real pictures', flush=True)
        return
    judge.score(
        'floor',
        lambda _: scorer.features(
            scorer.postprocess_images(others, protocol), what='other real pictures'
        ),
        Subject(),
        metrics=metrics,
    )


def _load(name: str, most: int) -> np.ndarray:
    """Pictures of a folder or an .npz file, uint8 [n, h, w, c], in a fixed random order."""
    path = pathlib.Path(name)
    if not path.exists():
        raise MissingDataError(f'{path} does not exist: correct --real or --fake')
    if path.is_dir():
        return image_folder.load_unresized(path, max_images=most)
    x = npz.load_images(path)
    return x[fixed_permutation(len(x), Purpose.EVALUATION)[:most]]
