"""Headers of image files: format by content, orientation, transparency and depth."""

import contextlib
import os
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from flexae_tf.foreign_files import FREE, open_regular

# Kinds of files: decoded by one TensorFlow operation; by `image_pixels.decode`; or by the latter,
# with the number of bits that all 16-bit files use.
PLAIN, SPECIAL, DEEP = 'plain', 'special', '16-bit'

# Formats by the first bytes of a file; the second table lists what cannot be decoded.
FORMATS = {
    'JPEG': rb'\xff\xd8\xff',
    'PNG': rb'\x89PNG\r\n\x1a\n',
    'GIF': rb'GIF8[79]a',
    'WebP': rb'RIFF.{4}WEBP',
    'BMP': rb'BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0',
    'JPEG XL': rb'\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n',
}
OTHERS = {
    'an AVIF image': rb'.{4}ftypavi[fs]',
    'a HEIC image': rb'.{4}ftyp(hei|hev|mif1|msf1)',
    'a TIFF image': rb'II[*+]\0|MM\0[*+]',
    'a JPEG 2000 image': rb'\0\0\0\x0cjP  |\xff\x4f\xff\x51',
    'an SVG image': rb'\s*(<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>|\s)*<svg',
    'a PPM image': rb'P[1-7]\s',
    'a Photoshop image': rb'8BPS',
    'an icon': rb'\0\0[\1\2]\0',
    'an HTML page': rb'\s*<(!doctype html|html)',
    'a pointer of Git LFS': rb'version https://git-lfs',
    'an empty file': rb'\Z',
}
HEAD = 512  # bytes that the tables need
STARTS = (HEAD, 2**16, 2**22)  # bytes that metadata may take
MAX_CHUNKS = 2**16  # of a PNG image
MAX_PIXELS = 2**28  # of the largest cameras
FREE_PIXELS = 2**25  # that a file of any size may have
PIXELS_PER_BYTE, BYTES_PER_PIXEL = 100, 16
_MARKER = re.compile(rb'\xff([^\0\xff])')  # of a segment of a JPEG file
_FRAMES = [bytes([0xC0 + i]) for i in range(16) if i not in (4, 8, 12)]  # segments with the size


class ImageFile(NamedTuple):
    """An image file: its path, and PLAIN, SPECIAL or DEEP."""

    path: str
    kind: str


class UnreadableImageError(Exception):
    """A file that cannot be decoded; the message is the problem without the path."""


def format_of(head: bytes) -> str | None:
    """Returns the format of a file, a key of `FORMATS`, from its first `HEAD` bytes."""
    return next((name for name, start in FORMATS.items() if re.match(start, head, re.S)), None)


def inspect(path: str) -> str:
    """Returns PLAIN, SPECIAL or DEEP: how to decode a file.

    Only headers are read.

    Raises:
        UnreadableImageError: the file cannot be read, has a format that cannot be decoded, or has
            too many pixels or bytes.
    """
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
            name = format_of(head)
            num_bytes = os.fstat(file.fileno()).st_size
            if name == 'JPEG':
                orientation, size = _from_start(file, jpeg_metadata)
                check_size(*size, num_bytes)
                return PLAIN if orientation == 1 else SPECIAL
            if name:
                check_size(*_from_start(file, _SIZES[name]), num_bytes)
            if name == 'PNG':
                transparent, orientation = png_metadata(file)
                if head[24:25] == b'\x10':  # absent from a truncated file
                    return DEEP
                return PLAIN if not transparent and orientation == 1 else SPECIAL
    except OSError as error:
        raise UnreadableImageError((error.strerror or str(error)).lower()) from None
    except (struct.error, IndexError, OverflowError):
        raise UnreadableImageError(f'a corrupt or truncated {name} image') from None
    if name:
        return SPECIAL
    others = (n for n, start in OTHERS.items() if re.match(start, head, re.S | re.I))
    raise UnreadableImageError(next(others, 'not an image'))


def _from_start(file: BinaryIO, function: Callable[[bytes], Any]) -> Any:
    """Returns the result of a function of as many of the first bytes as it needs."""
    for num in STARTS:
        file.seek(0)
        data = file.read(num)
        with contextlib.suppress(struct.error, IndexError):
            return function(data)
    raise IndexError('incomplete')


def check_size(width: int, height: int, num_bytes: int) -> None:
    """Refuses sizes that cannot be meant, before the image is read and decoded.

    Raises:
        UnreadableImageError: too many pixels, or too many pixels or bytes for the other number.
    """
    pixels = width * height
    if pixels > MAX_PIXELS or pixels > max(FREE_PIXELS, PIXELS_PER_BYTE * num_bytes):
        raise UnreadableImageError(f'{width}x{height} pixels in {num_bytes} bytes')
    if num_bytes > max(FREE, BYTES_PER_PIXEL * pixels):
        raise UnreadableImageError(f'{num_bytes} bytes for {width}x{height} pixels')


def exif_orientation(exif: bytes) -> int:
    """Returns the orientation, 1 .. 8, in EXIF data; 1 if there is none or the data are corrupt."""
    exif = exif.removeprefix(b'Exif\0\0')
    order = '<' if exif.startswith(b'II') else '>'
    try:
        (start,) = struct.unpack_from(order + 'I', exif, 4)
        (count,) = struct.unpack_from(order + 'H', exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + 'HHIH', exif, entry)
            if tag == 0x112 and 1 <= value <= 8:
                return value
    except struct.error:
        pass
    return 1


def jpeg_metadata(data: bytes) -> tuple[int, tuple[int, int]]:
    """Returns orientation and size of a JPEG file from its segments before the compressed data.

    Args:
        data: the file, or its beginning.

    Raises:
        IndexError: no segment has the size.
    """
    position, orientations, sizes = 2, [], []
    while (marker := _MARKER.search(data, position)) and marker[1] != b'\xda':
        start = marker.end() + 2
        position = marker.end() + max(2, int.from_bytes(data[marker.end() : start], 'big'))
        if marker[1] == b'\xe1' and data[start : start + 6] == b'Exif\0\0':
            orientations.append(exif_orientation(data[start:position]))
        elif marker[1] in _FRAMES and len(data) >= start + 5:
            height, width = struct.unpack_from('>2H', data, start + 1)
            sizes.append((width, height))
    return (orientations or [1])[0], sizes[0]


def png_metadata(file: BinaryIO) -> tuple[bool, int]:
    """Returns whether a PNG file has transparency, and its orientation."""
    file.seek(25)
    transparent, orientation = file.read(1) in (b'\4', b'\6'), 1
    file.seek(33)
    for _ in range(MAX_CHUNKS):
        if len(header := file.read(8)) < 8:
            break
        size, name = struct.unpack('>I4s', header)
        transparent |= name == b'tRNS'
        if name == b'eXIf':
            orientation = exif_orientation(file.read(size))
            size = 0
        file.seek(size + 4, os.SEEK_CUR)
    return transparent, orientation


def _png_size(head: bytes) -> tuple[int, int]:
    return struct.unpack_from('>2I', head, 16)


def _gif_size(head: bytes) -> tuple[int, int]:
    return struct.unpack_from('<2H', head, 6)


def _bmp_size(head: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from('<2i', head, 18)
    return abs(width), abs(height)


def _webp_size(head: bytes) -> tuple[int, int]:
    if head[12:16] == b'VP8X':
        width, height = (int.from_bytes(head[i : i + 3], 'little') for i in (24, 27))
        return 1 + width, 1 + height
    if head[12:16] == b'VP8L':
        (bits,) = struct.unpack_from('<I', head, 21)
        return 1 + bits % 2**14, 1 + (bits >> 14) % 2**14
    width, height = struct.unpack_from('<2H', head, 26)
    return width % 2**14, height % 2**14


def _jxl_size(head: bytes) -> tuple[int, int]:
    """Returns the size of a JPEG XL image (ISO/IEC 18181-1, SizeHeader)."""
    start = 0 if head.startswith(b'\xff\x0a') else _jxl_codestream(head)
    bits = int.from_bytes(head[start + 2 : start + 18], 'little')

    def take(num: int) -> int:
        nonlocal bits
        value = bits % 2**num
        bits >>= num
        return value

    is_small = take(1)

    def side() -> int:
        return 8 * (1 + take(5)) if is_small else 1 + take((9, 13, 18, 30)[take(2)])

    height, ratio = side(), take(3)
    if not ratio:
        return side(), height
    numerator, denominator = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * numerator // denominator, height


def _jxl_codestream(head: bytes) -> int:
    """Returns the position of the image in a container, after its first boxes."""
    position = 0
    while True:
        size, name, large = struct.unpack_from('>I4sQ', head, position)
        header = 16 if size == 1 else 8
        if name in (b'jxlc', b'jxlp'):
            return position + header + (4 if name == b'jxlp' else 0)
        position += max(header, large if size == 1 else size)


_SIZES = {
    'PNG': _png_size,
    'GIF': _gif_size,
    'WebP': _webp_size,
    'BMP': _bmp_size,
    'JPEG XL': _jxl_size,
}
