import numpy as np
import pytest

from flexae_tf import image_grid


def numbered(num, *, height=2, width=3, channels=1):
    """Returns images [num, height, width, channels] of constant value 1 .. num."""
    values = np.arange(1, num + 1, dtype=np.uint8)[:, None, None, None]
    return np.tile(values, [1, height, width, channels])


def cells(image, *, height=2, width=3):
    """Returns the value of each cell of a grid of constant images, by rows."""
    rows, columns = image.shape[0] // height, image.shape[1] // width
    blocks = image[..., 0].reshape([rows, height, columns, width])
    assert (blocks == blocks[:, :1, :, :1]).all()
    return blocks[:, 0, :, 0].tolist()


def test_to_uint8_rounds_and_clips():
    images = np.array([-0.1, 0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.0, 1.2])
    converted = image_grid.to_uint8(images)
    assert converted.dtype == np.uint8 and converted.tolist() == [0, 0, 0, 1, 255, 255, 255]


@pytest.mark.parametrize(
    ('num', 'columns', 'expected'),
    [
        (4, None, [[1, 2], [3, 4]]),
        (5, None, [[1, 2, 3], [4, 5, 0]]),
        (3, 3, [[1, 2, 3]]),
        (4, 3, [[1, 2, 3], [4, 0, 0]]),
        (1, None, [[1]]),
    ],
)
@pytest.mark.parametrize('channels', [1, 3])
def test_grid_arranges_images_by_rows_and_fills_with_black(num, columns, expected, channels):
    image = image_grid.grid(numbered(num, channels=channels), columns=columns)
    assert image.shape == (2 * len(expected), 3 * len(expected[0]), channels)
    assert cells(image) == expected


def test_grid_keeps_the_pixels_of_an_image():
    images = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape([2, 2, 3, 3])
    image = image_grid.grid(images, columns=1)
    np.testing.assert_array_equal(image[:2], images[0])
    np.testing.assert_array_equal(image[2:], images[1])


def test_grid_keeps_the_rows_and_columns_of_an_array():
    rows = numbered(6).reshape([2, 3, 2, 3, 1])
    assert cells(image_grid.grid(rows)) == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ('num', 'columns', 'expected'),
    [
        (4, 2, [[1, 2], [101, 102], [3, 4], [103, 104]]),
        (5, 2, [[1, 2], [101, 102], [3, 4], [103, 104]]),  # the fifth fills no row
        (2, 8, [[1, 2], [101, 102]]),
    ],
)
def test_pairs_alternates_rows_of_images_and_reconstructions(num, columns, expected):
    x = numbered(num)
    assert cells(image_grid.pairs(x, x + 100, columns=columns)) == expected


@pytest.mark.parametrize('channels', [1, 3])
def test_read_png_returns_the_written_image(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, [5, 4, channels]).astype(np.uint8)
    image_grid.write_png(tmp_path / 'image.png', image)
    np.testing.assert_array_equal(image_grid.read_png(tmp_path / 'image.png'), image)
    assert (tmp_path / 'image.png').read_bytes() == image_grid.to_png(image)
