import os
import struct
import time

import pytest
import tensorflow as tf

from flexae_tf.data import image_formats
from flexae_tf.data.image_formats import DEEP, PLAIN, SPECIAL, UnreadableImageError


def png(channels, dtype=tf.uint8):
    return tf.io.encode_png(tf.zeros([4, 4, channels], dtype)).numpy()


def inspect(tmp_path, content):
    path = tmp_path / 'file'
    path.write_bytes(content)
    return image_formats.inspect(str(path))


def test_inspect_distinguishes_kinds_of_decoding(tmp_path):
    jpeg = tf.io.encode_jpeg(tf.zeros([4, 4, 3], tf.uint8)).numpy()
    assert (
        inspect(tmp_path, jpeg) == inspect(tmp_path, png(3)) == inspect(tmp_path, png(1)) == PLAIN
    )
    assert inspect(tmp_path, png(4)) == inspect(tmp_path, png(2)) == SPECIAL
    assert inspect(tmp_path, png(3, tf.uint16)) == inspect(tmp_path, png(2, tf.uint16)) == DEEP


def test_inspect_finds_an_orientation_behind_other_segments_and_padding(tmp_path):
    jpeg = tf.io.encode_jpeg(tf.zeros([4, 4, 3], tf.uint8)).numpy()
    exif = b'Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\3\0\0\0\0\0\0\0'
    segments = b'\xff\xe2\0\x06abcd\xff\xe1\0\x06http\xff\xff'
    segments += b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif
    assert inspect(tmp_path, jpeg[:2] + segments + jpeg[2:]) == SPECIAL
    assert inspect(tmp_path, jpeg[:2] + segments.replace(b'\3\0\0\0\0', b'\1\0\0\0\0') + jpeg[2:])


@pytest.mark.parametrize(
    'content, problem',
    [
        (b'', 'an empty file'),
        (b'notes', 'not an image'),
        (b'II*\0\x08\0\0\0', 'a TIFF image'),
        (b'MM\0*\0\0\0\x08', 'a TIFF image'),
        (b'\0\0\0\x18ftypheic', 'a HEIC image'),
        (b'\0\0\0\x1cftypavif', 'an AVIF image'),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg/>', 'an SVG image'),
        (b'<?xml version="1.0"?><annotation/>', 'not an image'),
        (b'P6\n4 4\n255\n', 'a PPM image'),
        (b'\n<!DOCTYPE html><html>', 'an HTML page'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS'),
        (b'BM are initials', 'not an image'),
    ],
)
def test_inspect_names_formats_that_cannot_be_decoded(tmp_path, content, problem):
    with pytest.raises(UnreadableImageError, match=f'^{problem}$'):
        inspect(tmp_path, content)


def test_inspect_accepts_truncated_files_with_a_size(tmp_path):
    jpeg = tf.io.encode_jpeg(tf.zeros([4, 4, 3], tf.uint8)).numpy()
    for content, start in ((jpeg, 168), (png(4), 25), (png(3, tf.uint16), 25)):
        for length in range(8, len(content)):  # the decoder refuses the rest
            if length >= start:
                assert inspect(tmp_path, content[:length]) in (PLAIN, SPECIAL, DEEP)
            elif length < 24:
                with pytest.raises(UnreadableImageError, match='a corrupt or truncated'):
                    inspect(tmp_path, content[:length])
    for size in (b'\0\0', b'\0\1'):  # of a segment, its own two bytes included
        assert inspect(tmp_path, jpeg[:2] + b'\xff\xe1' + size + jpeg[2:]) == PLAIN


WEBP = b'RIFF\0\0\0\0WEBP'
JXL_BOX = b'\0\0\0\x0cJXL \r\n\x87\n'
SIZES = {  # beginnings of files that announce 60000 x 50000 pixels, or about as many
    'JPEG': b'\xff\xd8\xff\xe0\0\4xx\xff\xc0\0\x11\x08' + struct.pack('>2H', 50_000, 60_000),
    'JPEG behind 100 kB': b'\xff\xd8'
    + 2 * (b'\xff\xe2\xff\xff' + bytes(65_533))
    + b'\xff\xc2\0\x11\x08'
    + struct.pack('>2H', 50_000, 60_000),
    'PNG': b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR' + struct.pack('>2I', 60_000, 50_000) + b'\x08\2',
    'GIF': b'GIF89a' + struct.pack('<2H', 60_000, 50_000),
    'BMP': b'BM' + bytes(12) + struct.pack('<I2i', 40, 60_000, -50_000),
    'WebP VP8': WEBP + b'VP8 \0\0\0\0' + bytes(6) + struct.pack('<2H', 16_383, 16_383),
    'WebP VP8L': WEBP + b'VP8L\0\0\0\0\x2f' + struct.pack('<I', 16_383 | 16_382 << 14),
    'WebP VP8X': WEBP + b'VP8X\0\0\0\0' + bytes(4) + struct.pack('<I', 59_999)[:3] + b'\x4f\xc3\0',
    # Bits from the lowest: 0, selector 2, 18 bits of height - 1, ratio 1 (square).
    'JPEG XL': b'\xff\x0a' + (2 << 1 | 49_999 << 3 | 1 << 21).to_bytes(4, 'little'),
    'JPEG XL in boxes': JXL_BOX
    + b'\0\0\0\x0cftypjxl '
    + b'\0\0\0\0jxlc\xff\x0a'
    + (2 << 1 | 49_999 << 3 | 1 << 21).to_bytes(4, 'little')
    + bytes(16),
}


@pytest.mark.parametrize('name', SIZES)
def test_inspect_refuses_pixels_that_a_small_file_cannot_mean(tmp_path, name):
    with pytest.raises(UnreadableImageError, match=r'^(6|5|16)\d+x\d+ pixels in \d+ bytes$'):
        inspect(tmp_path, SIZES[name])


def test_inspect_refuses_a_box_that_ends_beyond_every_file(tmp_path):
    box = b'\0\0\0\1ftyp' + b'\xff' * 8 + bytes(16)
    with pytest.raises(UnreadableImageError, match='^a corrupt or truncated JPEG XL'):
        inspect(tmp_path, JXL_BOX + box)


def test_inspect_refuses_bytes_that_a_small_image_cannot_need(tmp_path):
    (tmp_path / 'file').write_bytes(png(3))
    os.truncate(tmp_path / 'file', 10**10)  # without content on the disk
    with pytest.raises(UnreadableImageError, match='^10000000000 bytes for 4x4 pixels$'):
        image_formats.inspect(str(tmp_path / 'file'))


def test_inspect_ends_in_metadata_of_many_parts(tmp_path):
    started = time.monotonic()
    jpeg = tf.io.encode_jpeg(tf.zeros([4, 4, 3], tf.uint8)).numpy()
    assert inspect(tmp_path, jpeg[:2] + b'\xff' * 10**6 + jpeg[2:]) == PLAIN
    assert inspect(tmp_path, png(3) + 10**6 * b'\0\0\0\0tEXt\0\0\0\0') == PLAIN
    assert time.monotonic() - started < 2.0
