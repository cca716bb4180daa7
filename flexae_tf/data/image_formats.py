"""Headers of image files: format by content, orientation, transparency and depth."""

import os
import re
import struct
from typing import BinaryIO, NamedTuple

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
        UnreadableImageError: the file cannot be read or has a format that cannot be decoded.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(HEAD)
            name = format_of(head)
            if name == 'JPEG':
                return PLAIN if jpeg_orientation(file) == 1 else SPECIAL
            if name == 'PNG':
                transparent, orientation = png_metadata(file)
                if head[24:25] == b'\x10':  # absent from a truncated file
                    return DEEP
                return PLAIN if not transparent and orientation == 1 else SPECIAL
    except OSError as error:
        raise UnreadableImageError((error.strerror or str(error)).lower()) from None
    if name:
        return SPECIAL
    others = (n for n, start in OTHERS.items() if re.match(start, head, re.S | re.I))
    raise UnreadableImageError(next(others, 'not an image'))


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


def jpeg_orientation(file: BinaryIO) -> int:
    """Returns the orientation of a JPEG file from its segments before the compressed data."""
    file.seek(2)
    while (marker := file.read(2)) and marker[0] == 0xFF and marker not in (b'\xff\xda', b'\xff'):
        if marker == b'\xff\xff':  # padding
            file.seek(-1, os.SEEK_CUR)
            continue
        size = max(0, int.from_bytes(file.read(2), 'big') - 2)
        if marker == b'\xff\xe1' and (data := file.read(size)).startswith(b'Exif\0\0'):
            return exif_orientation(data)
        if marker != b'\xff\xe1':
            file.seek(size, os.SEEK_CUR)
    return 1


def png_metadata(file: BinaryIO) -> tuple[bool, int]:
    """Returns whether a PNG file has transparency, and its orientation."""
    file.seek(25)
    transparent, orientation = file.read(1) in (b'\4', b'\6'), 1
    file.seek(33)
    while len(header := file.read(8)) == 8:
        size, name = struct.unpack('>I4s', header)
        transparent |= name == b'tRNS'
        if name == b'eXIf':
            orientation = exif_orientation(file.read(size))
            size = 0
        file.seek(size + 4, os.SEEK_CUR)
    return transparent, orientation
