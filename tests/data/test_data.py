import dataclasses

import numpy as np
import pytest

from flexae_tf import data
from flexae_tf.config import TrainConfig
from flexae_tf.data.dataset import Purpose, fixed_permutation, hold_out_test
from flexae_tf.errors import UsageError


@pytest.fixture
def numbered(tmp_path):
    """Returns the options that load 200 + 50 images that contain their own number."""
    numbers = np.arange(250)
    images = np.zeros([250, 6, 6], np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(numbers, 256)
    path = tmp_path / 'numbered.npz'
    np.savez(path, x_train=images[:200], y_train=numbers[:200] % 7, x_test=images[200:])
    return dict(dataset='folder', data_dir=str(path), batch_size=8)


def numbers_of(split):
    return (split.x[:, 0, 0, 0].astype(int) * 256 + split.x[:, 0, 1, 0]).tolist()


def test_load_puts_every_example_into_one_part(numbered):
    dataset = data.load(TrainConfig(**numbered))
    train, held_out = numbers_of(dataset.train), numbers_of(dataset.validation)
    assert len(held_out) == 20  # a tenth
    assert sorted(train + held_out) == list(range(200))
    assert numbers_of(dataset.test) == list(range(200, 250))
    assert held_out != list(range(20))
    assert dataset.train.labels.tolist() == [number % 7 for number in train]


def test_load_holds_out_the_same_examples_for_every_seed(numbered):
    one, other = (data.load(TrainConfig(**numbered, seed=seed)) for seed in (0, 1))
    np.testing.assert_array_equal(one.validation.x, other.validation.x)
    np.testing.assert_array_equal(one.train.x, other.train.x)


def test_train_examples_keeps_the_first_examples(numbered):
    whole = data.load(TrainConfig(**numbered, validation_examples=30))
    part = data.load(TrainConfig(**numbered, validation_examples=30, train_examples=50))
    assert len(whole.train) == 170 and len(part.train) == 50
    assert numbers_of(part.train) == numbers_of(whole.train)[:50]
    assert numbers_of(part.validation) == numbers_of(whole.validation)
    assert part.spec == whole.spec and part.spec.train_size == 200


def test_synthetic_validation_examples_are_not_taken_from_training():
    few, many = (
        data.load(TrainConfig(dataset='synthetic_2d', validation_examples=num)) for num in (2, 7000)
    )
    assert (len(few.validation), len(many.validation)) == (2, 7000)
    assert len(few.train) == 15_000
    np.testing.assert_array_equal(few.train.x, many.train.x)
    assert len(data.load(TrainConfig(dataset='synthetic_2d')).validation) == 5000


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(batch_size=181), ['--batch_size=181', '180', '--batch_size=180 or less']),
        (dict(batch_size=9, train_examples=8), ['--batch_size=9', '8', '--batch_size=8 or less']),
        (dict(train_examples=181), ['200', '181', 'Lower --train_examples']),
        (dict(train_examples=100, validation_examples=101), ['200', '101', '100']),
        (dict(validation_examples=200), ['200', 'Lower', '--validation_examples']),
    ],
)
def test_describe_refuses_impossible_sizes(numbered, options, words):
    with pytest.raises(UsageError) as caught:
        data.describe(TrainConfig(**{**numbered, **options}))
    assert caught.value.exit_code == 2
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_describe_refuses_options_of_other_data_sets():
    for options, user in (
        (dict(image_size=32), 'folder'),
        (dict(value_range='0..1'), 'folder'),
        (dict(celeba_crop=108), 'celeba'),
    ):
        (name,) = options
        with pytest.raises(UsageError, match=f'--{name}=.* or use --dataset={user}'):
            data.describe(TrainConfig(dataset='digits', **options))
    with pytest.raises(UsageError, match='Use 178 or less'):
        data.describe(TrainConfig(dataset='celeba', celeba_crop=179))
    with pytest.raises(UsageError, match='15000 training examples'):
        data.describe(TrainConfig(dataset='synthetic_5d', train_examples=15_001))


def test_take_returns_the_same_rows_of_every_array():
    rows = np.arange(5)
    split = data.Split(rows, labels=10 * rows, attributes=rows > 2, latents=-rows)
    taken = split.take(np.array([3, 0]))
    assert taken.x.tolist() == [3, 0] and taken.labels.tolist() == [30, 0]
    assert taken.attributes.tolist() == [True, False] and taken.latents.tolist() == [-3, 0]
    assert len(taken) == 2 and data.Split(rows).take(rows).labels is None


def test_fixed_permutation_is_pinned_for_every_purpose():
    assert [int(purpose) for purpose in Purpose] == [0, 1, 2, 3]
    assert fixed_permutation(10, Purpose.VALIDATION).tolist() == [3, 6, 1, 9, 4, 8, 7, 2, 0, 5]
    assert fixed_permutation(10, Purpose.TEST).tolist() == [7, 1, 4, 0, 8, 3, 5, 2, 9, 6]
    assert fixed_permutation(10, Purpose.EVALUATION).tolist() == [1, 9, 4, 3, 8, 2, 7, 0, 6, 5]
    assert fixed_permutation(10, Purpose.DISPLAY).tolist() == [6, 9, 7, 4, 8, 3, 2, 5, 0, 1]


def test_hold_out_test_splits_all_examples():
    train, test = hold_out_test(data.Split(np.arange(10)), 3)
    assert test.x.tolist() == fixed_permutation(10, Purpose.TEST)[:3].tolist()
    assert sorted([*train.x, *test.x]) == list(range(10))


def test_fingerprint_depends_on_type_shape_and_contents():
    x = np.arange(6, dtype=np.float32)
    others = [x.astype(np.float64), x.reshape([2, 3]), x + 1, -x]
    assert len({data.fingerprint(array) for array in [x, *others]}) == 5
    assert data.fingerprint(x) == data.fingerprint(x.copy())
    assert data.fingerprint(x[::2]) == data.fingerprint(x[::2].copy())  # not contiguous


def test_spec_is_rebuilt_from_its_dictionary():
    spec = data.describe(TrainConfig(dataset='celeba'))
    assert data.DatasetSpec(**dataclasses.asdict(spec)) == spec
