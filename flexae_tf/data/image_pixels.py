"""Contents of one image file -> pixels: orientation, transparency and 16-bit values."""

import io
import struct
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from flexae_tf.data.image_formats import (
    HEAD,
    UnreadableImageError,
    check_size,
    exif_orientation,
    format_of,
    jpeg_metadata,
    png_metadata,
)

WHITE = 255  # background of transparent images
DEPTHS = (8, 10, 12, 14, 16)  # bits that 16-bit files use


def decode(content: bytes, bits: int = 16) -> np.ndarray:
    """Returns the pixels of an image file, uint8 [h, w, 3]; the first frame of an animation.

    JPEG files are decoded by the accurate inverse DCT. EXIF rotation is applied, transparent
    images are composed on white, and embedded colour profiles are ignored.

    Args:
        content: the bytes of the file.
        bits: number of bits that the colours of 16-bit files use, one of `DEPTHS`.

    Raises:
        UnreadableImageError: corrupt, or a variant that cannot be decoded.
    """
    name = format_of(content[:HEAD])
    try:
        image, orientation = _DECODERS[name](content)
    except (tf.errors.OpError, struct.error, IndexError, KeyError, ValueError):
        raise UnreadableImageError(f'a corrupt or truncated {name} image') from None
    image, alpha = image[..., :3], image[..., 3:]
    if image.dtype == np.uint16:
        image, alpha = scale(image, bits), scale(alpha, 16)
    if alpha.size:
        weight = np.float32(alpha) / 255
        image = np.rint(image * weight + WHITE * (1 - weight)).astype(np.uint8)
    return _upright(image, orientation)


def decode_plain(content: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of a file that `inspect` calls PLAIN, like `decode`, but in a graph."""
    # Reads PNG files too. The fast DCT, TensorFlow's default, is off by 0.8 of 255 on average.
    return tf.io.decode_jpeg(content, channels=3, dct_method='INTEGER_ACCURATE')


def scale(image: np.ndarray, bits: int) -> np.ndarray:
    """Maps uint16 values 0 .. 2^bits - 1 to uint8."""
    return np.minimum(np.rint(image * np.float32(255 / (2**bits - 1))), 255).astype(np.uint8)


def depth(largest: int) -> int:
    """Returns the number of bits, one of `DEPTHS`, of 16-bit files with this largest value.

    Cameras and scanners store 10, 12 or 14 bits in 16-bit files without scaling them.
    """
    return next(bits for bits in DEPTHS if largest < 2**bits)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation, 1 .. 8."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _decode_jpeg(content: bytes) -> tuple[np.ndarray, int]:
    return decode_plain(content).numpy(), jpeg_metadata(content)[0]


def _decode_png(content: bytes) -> tuple[np.ndarray, int]:
    transparent, orientation = png_metadata(io.BytesIO(content))
    dtype = tf.uint16 if content[24] == 16 else tf.uint8
    image = tf.io.decode_png(content, channels=4 if transparent else 3, dtype=dtype)
    return image.numpy(), orientation


def _decode_gif(content: bytes) -> tuple[np.ndarray, int]:
    """Decodes the first frame, on white: TensorFlow draws transparent pixels black."""
    content = bytearray(content)
    transparent, table = None, 13  # positions in `content`
    position = table + _gif_table_size(content[10])
    while content[position] == 0x21:  # an extension
        if content[position + 1] == 0xF9 and content[position + 3] & 1:
            content[position + 3] &= 0xFE  # draws transparent pixels in their colour: white
            transparent = content[position + 6]
        position = _gif_blocks_end(content, position + 2)
    left, top, width, height, flags = struct.unpack_from('<4HB', content, position + 1)
    struct.pack_into('<2H', content, position + 1, 0, 0)  # TensorFlow's canvas is the frame
    size = _gif_table_size(content[10])
    if flags & 0x80:
        table, size = position + 10, _gif_table_size(flags)
    if transparent is not None and 3 * transparent < size:
        content[table + 3 * transparent : table + 3 * transparent + 3] = bytes([WHITE] * 3)
    screen_width, screen_height = struct.unpack_from('<2H', content, 6)
    shape = max(screen_height, top + height), max(screen_width, left + width), 3
    check_size(shape[1], shape[0], len(content))
    end = _gif_blocks_end(content, position + 11 + _gif_table_size(flags))
    content = content[:end] + b';'  # TensorFlow would decode all frames
    frame = tf.io.decode_image(bytes(content), channels=3, expand_animations=False).numpy()
    image = np.full(shape, WHITE, np.uint8)
    image[top : top + height, left : left + width] = frame
    return image, 1


def _gif_table_size(flags: int) -> int:
    return 3 * 2 ** (1 + (flags & 7)) if flags & 0x80 else 0


def _gif_blocks_end(content: bytes, position: int) -> int:
    """Returns the position after blocks of data, each behind its size."""
    while content[position]:
        position += content[position] + 1
    return position + 1


def _riff_chunks(content: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields (name, data) of the chunks of a WebP file from `position` on."""
    while position + 8 <= len(content):
        name, size = struct.unpack_from('<4sI', content, position)
        yield name, content[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def _decode_webp(content: bytes) -> tuple[np.ndarray, int]:
    chunks = {}
    for name, data in _riff_chunks(content, 12):
        if name in (b'EXIF', b'ANMF', b'VP8X'):
            chunks.setdefault(name, data)
    orientation = exif_orientation(chunks.get(b'EXIF', b''))
    if b'ANMF' not in chunks:
        return tf.io.decode_webp(content, channels=0).numpy()[0], orientation
    # TensorFlow decodes some animations only: the first frame becomes a file of its own.
    canvas, frame = chunks[b'VP8X'], chunks[b'ANMF']
    check_size(*(1 + value for value in _uint24(frame[6:12])), len(content))
    header = canvas[:1].translate(_STILL) + canvas[1:4] + frame[6:12]
    body = b'WEBPVP8X' + struct.pack('<I', len(header)) + header + frame[16:]
    still = b'RIFF' + struct.pack('<I', len(body)) + body
    frame_image = tf.io.decode_webp(still, channels=0).numpy()[0]
    left, top, _, _ = _uint24(frame)
    width, height = (1 + value for value in _uint24(canvas[4:]))
    image = np.zeros([height, width, 4], np.uint8)
    area = image[2 * top :, 2 * left :][: len(frame_image), : frame_image.shape[1]]
    area[..., 3] = 255
    area[..., : frame_image.shape[2]] = frame_image
    return image, orientation


_STILL = bytes(flags & 0x10 for flags in range(256))  # keeps the flag of transparency


def _uint24(data: bytes) -> list[int]:
    """Returns at most four little-endian integers of 24 bits."""
    return [int.from_bytes(data[i : i + 3], 'little') for i in range(0, min(len(data), 12) - 2, 3)]


def _decode_bmp(content: bytes) -> tuple[np.ndarray, int]:
    header, bits, compression = struct.unpack_from('<I10xHI', content, 14)
    masks = struct.unpack_from('<4I', content, 54) if compression == 3 else ()
    if (
        header < 40
        or bits not in (8, 24, 32)
        or (compression and (bits, *masks[:3]) != (32, 0xFF0000, 0xFF00, 0xFF))
    ):
        raise UnreadableImageError(f'a BMP image of an unusual kind ({bits} bits per pixel)')
    image = tf.io.decode_bmp(content).numpy()
    if bits == 8:
        size = 4 * (struct.unpack_from('<I', content, 46)[0] or 256)
        colours = np.frombuffer(content, np.uint8, size, offset=14 + header).reshape(-1, 4)
        return colours[image[..., 0], 2::-1], 1
    # Without a mask the fourth byte has no meaning.
    return image if masks and header >= 56 and masks[3] else image[..., :3], 1


def _decode_jxl(content: bytes) -> tuple[np.ndarray, int]:
    if not hasattr(tf.io, 'decode_jxl'):
        raise UnreadableImageError('a JPEG XL image, which this version of TensorFlow cannot read')
    image = tf.io.decode_jxl(content, channels=0).numpy()  # upright already
    if image.shape[2] < 3:
        image = np.concatenate([image[..., :1]] * 3 + [image[..., 1:]], axis=2)
    return image, 1


_DECODERS = {
    'JPEG': _decode_jpeg,
    'PNG': _decode_png,
    'GIF': _decode_gif,
    'WebP': _decode_webp,
    'BMP': _decode_bmp,
    'JPEG XL': _decode_jxl,
}
