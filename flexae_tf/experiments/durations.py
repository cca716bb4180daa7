"""Durations in words, of what ran and of what is to be run."""


def duration(seconds: float) -> str:
    """`8 s`, `14 min`, `2.5 h`."""
    if seconds < 60:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 3600 else f'{seconds / 3600:.1f} h'
