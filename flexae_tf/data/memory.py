"""Memory of this process: limits and peak."""

import contextlib
import os
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

from flexae_tf.errors import UsageError

CGROUP_FILE = Path('/proc/self/cgroup')  # the control groups of this process, one per line
STATUS_FILE = Path('/proc/self/status')
CGROUP_ROOT = Path('/sys/fs/cgroup')
CURE = 'Use fewer images, or smaller ones (--image_size of a folder)'


def check(num_bytes: int, label: str, *, cure: str = CURE) -> None:
    """Checks up front that data fit into memory: the OOM killer leaves no message.

    Args:
        num_bytes: memory that is needed.
        label: plural name of the data in the error message.
        cure: the last sentence of the message.

    Raises:
        UsageError: more than `available`.
    """
    limit = available()
    if num_bytes > limit:
        raise UsageError(
            f'{label}: {num_bytes / 2**30:.1f} GiB of memory needed, {limit / 2**30:.1f} GiB '
            f'available. {cure}.'
        )


def available() -> int:
    """Returns the bytes of the machine's memory, or the limit of a scheduler or container."""
    limits = [sys.maxsize]
    with contextlib.suppress(OSError, ValueError):  # a system without these names
        limits.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    for path in _limit_files():
        with contextlib.suppress(OSError, ValueError):  # 'max' is no limit
            limits.append(int(path.read_text()))
    return min(limits)


def peak() -> float:
    """Returns the peak memory of this process in GiB."""
    try:
        return int(re.search(r'VmHWM:\s*(\d+) kB', STATUS_FILE.read_text())[1]) / 2**20
    except (OSError, TypeError):  # no Linux, where `ru_maxrss` includes the starting process
        unit = 1 if sys.platform == 'darwin' else 2**10  # bytes of `ru_maxrss`
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def _limit_files() -> Iterator[Path]:
    """Yields the limit files of this process's control groups (versions 1 and 2) and parents."""
    try:
        lines = CGROUP_FILE.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(':', 2)
        is_version_2 = not controllers
        if is_version_2 or 'memory' in controllers.split(','):
            top = CGROUP_ROOT if is_version_2 else CGROUP_ROOT / 'memory'
            name = 'memory.max' if is_version_2 else 'memory.limit_in_bytes'
            path = PurePath(group.lstrip('/'))
            yield from (top / part / name for part in (path, *path.parents))
