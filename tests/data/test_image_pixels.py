"""Pixels of image files; Pillow is the oracle."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf.data import image_pixels
from flexae_tf.data.image_formats import UnreadableImageError

Image = pytest.importorskip('PIL.Image')
ImageOps = pytest.importorskip('PIL.ImageOps')
ORIENTATION = 0x112

rng = np.random.default_rng(0)
PIXELS = np.kron(rng.integers(0, 256, (5, 7, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
COLOUR = Image.fromarray(PIXELS)
ALPHA = np.tile(np.linspace(0, 255, PIXELS.shape[1]).astype(np.uint8), (PIXELS.shape[0], 1))
TRANSPARENT = Image.fromarray(np.dstack([PIXELS, ALPHA]))
PALETTE = COLOUR.quantize(32)
FIRST_INDEX = int(np.asarray(PALETTE)[0, 0])


def encode(image, image_format, **options):
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def expected(content):
    """Returns what Pillow reads, upright and on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return np.asarray(image.convert('RGB'))


@pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'WEBP'])
def test_decode_applies_every_orientation(image_format):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options = {'lossless': True} if image_format == 'WEBP' else {}
        content = encode(COLOUR, image_format, exif=exif, **options)
        np.testing.assert_array_equal(image_pixels.decode(content), expected(content))


def test_decode_reads_both_byte_orders_of_exif():
    entry = struct.pack('>HHIHH', ORIENTATION, 3, 1, 6, 0)
    exif = b'Exif\0\0MM\0*' + struct.pack('>IH', 8, 1) + entry + bytes(4)
    content = encode(COLOUR, 'JPEG', exif=exif)
    assert image_pixels.decode(content).shape[:2] == COLOUR.size
    np.testing.assert_array_equal(image_pixels.decode(content), expected(content))


@pytest.mark.parametrize('exif', [b'Exif\0\0', b'Exif\0\0II*\0\xff\xff\xff\xff', b'Exif\0\0MM'])
def test_decode_ignores_corrupt_exif(exif):
    content = encode(COLOUR, 'JPEG', exif=exif)
    np.testing.assert_array_equal(
        image_pixels.decode(content), image_pixels.decode(encode(COLOUR, 'JPEG'))
    )


@pytest.mark.parametrize(
    'image, options',
    [
        (TRANSPARENT, {}),
        (TRANSPARENT.convert('LA'), {}),
        (PALETTE, {'transparency': FIRST_INDEX}),
        (PALETTE, {'transparency': bytes(range(0, 256, 8))}),
        (COLOUR, {'transparency': tuple(PIXELS[0, 0].tolist())}),
        (COLOUR.convert('L'), {'transparency': COLOUR.convert('L').getpixel((0, 0))}),
        (COLOUR.convert('1'), {}),
        (PALETTE, {}),
    ],
)
def test_decode_composes_png_images_on_white(image, options):
    content = encode(image, 'PNG', **options)
    np.testing.assert_array_equal(image_pixels.decode(content), expected(content))


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'subsampling': 2, 'quality': 50}])
def test_decode_reads_jpeg_images_exactly(mode, options):
    content = encode(COLOUR.convert(mode), 'JPEG', **options)
    np.testing.assert_array_equal(image_pixels.decode(content), expected(content))
    np.testing.assert_array_equal(image_pixels.decode_plain(content), expected(content))


def test_decode_plain_differs_from_the_fast_dct():
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    content = encode(noise, 'JPEG')
    np.testing.assert_array_equal(image_pixels.decode_plain(content), expected(content))
    assert (tf.io.decode_image(content).numpy() != expected(content)).any()


@pytest.mark.parametrize('image', [COLOUR, TRANSPARENT])
@pytest.mark.parametrize('lossless', [True, False])
@pytest.mark.parametrize('animated', [True, False])
def test_decode_reads_the_first_frame_of_webp_images(image, lossless, animated):
    frames = {'save_all': True, 'append_images': [image.rotate(180)]} if animated else {}
    content = encode(image, 'WEBP', lossless=lossless, **frames)
    np.testing.assert_array_equal(image_pixels.decode(content), expected(content))


@pytest.mark.parametrize(
    'image, options',
    [
        (PALETTE, {}),
        (PALETTE, {'transparency': FIRST_INDEX}),
        (PALETTE, {'save_all': True, 'append_images': [PALETTE.rotate(180)]}),
        (TRANSPARENT, {}),
    ],
)
def test_decode_reads_the_first_frame_of_gif_images_on_white(image, options):
    content = encode(image, 'GIF', **options)
    np.testing.assert_array_equal(image_pixels.decode(content), expected(content))


def test_decode_fills_a_gif_canvas_around_the_first_frame_with_white():
    content = bytearray(encode(PALETTE, 'GIF'))
    height, width = PIXELS.shape[:2]
    frame = content.index(b',' + struct.pack('<4H', 0, 0, width, height))
    struct.pack_into('<2H', content, 6, width + 9, height + 9)
    struct.pack_into('<2H', content, frame + 1, 3, 5)
    image = image_pixels.decode(bytes(content))
    assert image.shape == (height + 9, width + 9, 3)
    inner = image[5 : 5 + height, 3 : 3 + width].copy()
    np.testing.assert_array_equal(inner, np.asarray(PALETTE.convert('RGB')))
    image[5 : 5 + height, 3 : 3 + width] = 255
    assert (image == 255).all()


@pytest.mark.parametrize('image', [COLOUR, COLOUR.convert('L'), PALETTE, TRANSPARENT])
def test_decode_reads_bmp_images(image):
    content = encode(image, 'BMP')
    np.testing.assert_array_equal(
        image_pixels.decode(content), np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))
    )


@pytest.mark.parametrize(
    'content, pixels',
    [
        (
            'ff0a18101009080001007c004b18938e83438084574636197e9852d30b040490f5db54cf13a0000aa00000',
            np.arange(0, 240, 5).reshape(4, 4, 3),
        ),
        (
            'ff0a1810101437020800010044004b188b150a1da07a73719da9cdc7725050',
            np.arange(0, 48, 3).reshape(4, 4, 1).repeat(3, axis=2),
        ),
    ],
)
def test_decode_reads_jpeg_xl_images(content, pixels):
    """Lossless files of libjxl, colour and grey."""
    if not hasattr(tf.io, 'decode_jxl'):
        pytest.skip('this version of TensorFlow cannot read JPEG XL')
    np.testing.assert_array_equal(image_pixels.decode(bytes.fromhex(content)), pixels)


@pytest.mark.parametrize('shape', [(6, 5), (6, 5, 3)])
def test_decode_scales_16_bit_images(shape):
    values = rng.integers(0, 4096, shape, np.uint16)
    content = tf.io.encode_png(values.reshape(6, 5, -1)).numpy()
    for bits in (12, 16):
        exact = np.broadcast_to(values.reshape(6, 5, -1) * (255 / (2**bits - 1)), (6, 5, 3))
        assert np.abs(image_pixels.decode(content, bits) - exact).max() <= 0.5001
    assert len(np.unique(image_pixels.decode(content, 12))) > 16  # 16: the high bytes


def test_decode_composes_16_bit_images_on_white():
    values = np.full([2, 2, 4], 65535, np.uint16)
    values[..., :3], values[0, :, 3] = 0, 0
    image = image_pixels.decode(tf.io.encode_png(values).numpy())
    assert image[:, :, 0].tolist() == [[255, 255], [0, 0]]


@pytest.mark.parametrize(
    'largest, bits', [(0, 8), (255, 8), (256, 10), (4095, 12), (4096, 14), (16384, 16), (65535, 16)]
)
def test_depth_is_the_smallest_that_holds_all_values(largest, bits):
    assert image_pixels.depth(largest) == bits


@pytest.mark.parametrize(
    'content',
    [
        encode(COLOUR, 'JPEG')[:-200],
        encode(COLOUR, 'PNG')[:-100],
        encode(PALETTE, 'GIF')[:200],
        encode(PALETTE, 'GIF')[:12],
        encode(COLOUR, 'WEBP')[:100],
        encode(COLOUR, 'BMP')[:1000],
        encode(COLOUR.convert('1'), 'BMP'),
    ],
)
def test_decode_refuses_what_it_cannot_read(content):
    with pytest.raises(UnreadableImageError, match=r'^a corrupt or truncated|^a BMP image of an'):
        image_pixels.decode(content)
