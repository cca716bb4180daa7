"""Image files of a folder: which files are images, and which folders are splits and classes."""

import concurrent.futures
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

import numpy as np

from flexae_tf import shutdown
from flexae_tf.data import image_formats
from flexae_tf.data.image_formats import ImageFile
from flexae_tf.errors import MissingDataError

# Files with these suffixes claim to be images: if they are not readable, that is an error. Files
# with other suffixes are images if their contents are.
SUFFIXES = frozenset(
    """
    .apng .arw .avif .bmp .cr2 .cr3 .dib .dng .exr .gif .hdr .heic .heif .j2k .jfif .jp2 .jpe .jpeg
    .jpg .jxl .nef .orf .pgm .png .pnm .ppm .psd .raf .rw2 .svg .tga .tif .tiff .webp
    """.split()  # noqa: SIM905
)
# Files and folders that systems create, in lower case; hidden files are skipped too.
SYSTEM_NAMES = frozenset(
    """
    __macosx $recycle.bin recycler lost+found @eadir #recycle @recycle #snapshot thumbs.db
    ehthumbs.db desktop.ini
    """.split()  # noqa: SIM905
) | {'system volume information', 'icon\r'}
SPLITS = {
    'train': 'train',
    'training': 'train',
    'test': 'test',
    'testing': 'test',
    'val': 'val',
    'valid': 'val',
    'validation': 'val',
}
THREADS, CHUNK = 16, 64  # files are inspected in parallel, this many at a time


def find_images(folder: Path, flag: str) -> tuple[list[ImageFile], dict[str, str]]:
    """Finds the image files in a folder and its subfolders, without the files of runs.

    Prints how many there are, and how many other and hidden files were left out.

    Args:
        folder: the folder; links are followed.
        flag: flag that names the folder, for error messages.

    Returns:
        Image files in the order of the bytes of their paths, and problems of unreadable files by
        path.

    Raises:
        MissingDataError: no images, or a folder cannot be read.
    """
    hidden = []
    entries = list(_walk(str(folder), set(), hidden))
    regular = sorted((e.path for e in entries if _follow(e.is_file)), key=os.fsencode)
    bad = {
        entry.path: 'not a regular file' if os.path.exists(entry.path) else 'a broken link'
        for entry in entries
        if not _follow(entry.is_file)
    }

    def inspect(paths: list[str]) -> list[str | Exception]:
        shutdown.check('while reading images')
        results = []
        for path in paths:
            try:
                results.append(image_formats.inspect(path))
            except image_formats.UnreadableImageError as error:
                results.append(error)
        return results

    files = []
    chunks = [regular[start : start + CHUNK] for start in range(0, len(regular), CHUNK)]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for paths, results in zip(chunks, pool.map(inspect, chunks), strict=True):
            for path, result in zip(paths, results, strict=True):
                if isinstance(result, str):
                    files.append(image_formats.ImageFile(path, result))
                else:
                    bad[path] = str(result)
    bad = {path: bad[path] for path in bad if PurePath(path).suffix.lower() in SUFFIXES}
    if not files and not bad:
        formats = ', '.join(image_formats.FORMATS)
        raise MissingDataError(f'{folder}: no images ({formats}). Correct {flag}.')
    num_other = len(entries) - len(files) - len(bad)
    ignored = f'; {num_other} other files ignored' if num_other else ''
    ignored += f'; {len(hidden)} hidden or system files and folders skipped' if hidden else ''
    print(f'{len(files)} images in {folder}{ignored}', flush=True)
    return files, bad


def _walk(folder: str, visited: set[str], hidden: list[str]) -> Iterator[os.DirEntry]:
    """Yields the files in a folder and its subfolders, without the files of runs.

    Args:
        folder: the folder; links are followed.
        visited: folders that were visited; a link may lead back, or to the target of another link.
        hidden: paths of hidden files and folders are added.

    Raises:
        MissingDataError: a folder cannot be read.
    """
    real_path = os.path.realpath(folder)
    if real_path in visited:
        return
    visited.add(real_path)
    try:
        # Sorted: if two paths lead to one folder, every machine takes the same path.
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise MissingDataError(
            f'{folder}: {error.strerror}. Fix its permissions or move it elsewhere.'
        ) from error
    if {'config.json', 'checkpoints'} <= {entry.name for entry in entries}:  # a workdir
        return
    for entry in entries:
        if is_hidden(entry.name):
            hidden.append(entry.path)
        elif _follow(entry.is_dir):
            yield from _walk(entry.path, visited, hidden)
        else:
            yield entry


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder of this name is hidden, or made by a system."""
    return name.startswith('.') or name.lower() in SYSTEM_NAMES


def _follow(test: Callable[[], bool]) -> bool:
    """Returns the result of a test of an entry that may be a link to anything."""
    try:
        return test()
    except OSError:  # a loop of links, or a target that may not be looked at
        return False


def arrange(
    folder: Path, files: Sequence[ImageFile]
) -> tuple[list[ImageFile], np.ndarray, np.ndarray | None]:
    """Finds splits and classes from the names of the folders.

    Args:
        folder: the folder that was searched.
        files: its image files.

    Returns:
        The files to use; the split of each, a value of `SPLITS`; and its label, int64 [n]. The
        labels are None unless every file is in a folder of its class, and there are two classes.

    Raises:
        MissingDataError: there are test or validation images only.
    """
    folders = [PurePath(file.path).relative_to(folder).parent.parts for file in files]
    common = os.path.commonprefix(folders)  # such as the folder that an archive was unpacked to
    depth = next((i for i, name in enumerate(common) if name.lower() in SPLITS), len(common))
    names = {parts[depth].lower() for parts in folders if len(parts) > depth}
    splits = {SPLITS.get(name) for name in names}
    # A folder 'train' among folders of other names is a class: railways.
    if not splits & {'test', 'val'} and splits != {'train'}:
        splits = set()
    found = []
    for file, parts in zip(files, folders, strict=True):
        inner = parts[depth:]
        split = SPLITS.get(inner[0].lower()) if splits and inner else None
        inner = inner[1:] if split else inner
        if split or 'train' not in splits:
            found.append((file, split or 'train', inner[0] if inner else None))
    if found and all(split != 'train' for _, split, _ in found):
        raise MissingDataError(
            f'{folder}: holds test or validation images only. Add training images, or name one of '
            'its folders as --data_dir.'
        )
    used, splits, classes = map(list, zip(*found, strict=True)) if found else ([], [], [])
    if outside := len(files) - len(used):
        print(f'{outside} images outside train, test and val ignored', flush=True)
    names = sorted(set(classes) - {None}, key=os.fsencode)
    if None in classes or len(names) < 2:
        return used, np.array(splits), None
    return used, np.array(splits), np.array([names.index(name) for name in classes])
