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


def test_inspect_accepts_headers_that_are_truncated_or_corrupt(tmp_path):
    jpeg = tf.io.encode_jpeg(tf.zeros([4, 4, 3], tf.uint8)).numpy()
    for content in (jpeg, png(4), png(3, tf.uint16)):
        for length in range(8, len(content)):  # the decoder refuses the rest
            assert inspect(tmp_path, content[:length]) in (PLAIN, SPECIAL, DEEP)
    for size in (b'\0\0', b'\0\1', b'\xff\xff'):  # of a segment, its own two bytes included
        assert inspect(tmp_path, jpeg[:2] + b'\xff\xe1' + size + jpeg[2:]) == PLAIN


def test_inspect_names_errors_of_the_system(tmp_path):
    with pytest.raises(UnreadableImageError, match='^no such file or directory$'):
        image_formats.inspect(str(tmp_path / 'file'))
