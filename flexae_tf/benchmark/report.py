"""A report as one line of JSON or as aligned text.

A report is a dictionary. Its values are scalars, dictionaries of scalars, and tables (lists of
dictionaries with the same keys). Units are part of the keys.
"""

import json
import math
from typing import Any


def to_json(report: dict[str, Any]) -> str:
    """Returns a report as one line; numbers have four digits."""
    return json.dumps(_rounded(report))


def to_text(report: dict[str, Any]) -> str:
    """Returns a report as text: scalars one a line, then a section for each other value."""
    report = _rounded(report)
    scalars = {key: v for key, v in report.items() if not isinstance(v, dict | list)}
    lines = _scalars(scalars)
    for key, value in report.items():
        if key not in scalars:
            section = _scalars(value) if isinstance(value, dict) else _table(value)
            lines += ['', _label(key), *(f'  {line}' for line in section)]
    return '\n'.join(lines)


def _scalars(values: dict[str, Any]) -> list[str]:
    width = max(map(len, values), default=0)
    return [f'{_label(key):<{width}}  {_shown(value)}' for key, value in values.items()]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the lines of a table: texts are left-aligned, numbers right-aligned."""
    columns = []
    for key in rows[0]:
        cells = [_label(key), *(_shown(row[key]) for row in rows)]
        is_text = any(isinstance(row[key], str) for row in rows)
        width = max(map(len, cells))
        columns.append([c.ljust(width) if is_text else c.rjust(width) for c in cells])
    return ['  '.join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _label(key: str) -> str:
    return key.replace('_', ' ')


def _shown(value: Any) -> str:
    if value is None:
        return '-'
    if isinstance(value, bool | str):
        return str(value)
    return f'{value:,}' if isinstance(value, int) else f'{value:,.10g}'


def _rounded(value: Any) -> Any:
    """Returns the same report with floats of four digits."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f'{value:.4g}') if isinstance(value, float) and math.isfinite(value) else value
