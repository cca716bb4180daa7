"""How much memory this process may use."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from flexae_tf.errors import UsageError

GROUPS = Path('/proc/self/cgroup')  # the control groups of this process, a line each
LIMITS = Path('/sys/fs/cgroup')


def check(need: int, what: str) -> None:
    """Raises `UsageError` where `need` bytes for `what` are more than `allowed`.

    Known now: who is killed for memory after an hour of reading is told nothing.
    """
    there = allowed()
    if need > there:
        raise UsageError(
            f'{what} need {need / 2**30:.1f} GiB of memory, there are {there / 2**30:.1f}: take '
            'fewer, or smaller ones (--image_size, of a folder)'
        )


def allowed() -> int:
    """Bytes: what the machine has, or what a scheduler or container allows, if that is less."""
    limits = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    for path in _limits():
        with contextlib.suppress(OSError, ValueError):  # 'max' is no limit
            limits.append(int(path.read_text()))
    return min(limits)


def _limits() -> Iterator[Path]:
    """Files with a limit of a control group, of either version, or of one that it is part of."""
    try:
        lines = GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(':', 2)
        second = not controllers
        if second or 'memory' in controllers.split(','):
            top = LIMITS if second else LIMITS / 'memory'
            name = 'memory.max' if second else 'memory.limit_in_bytes'
            path = PurePath(group.lstrip('/'))
            yield from (top / part / name for part in (path, *path.parents))
