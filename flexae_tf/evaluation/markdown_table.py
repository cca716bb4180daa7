"""Markdown tables."""

from collections.abc import Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table; the first column and heads that end with '<' are left-aligned."""
    rules = ['---' if i == 0 or h.endswith('<') else '---:' for i, h in enumerate(heads)]
    lines = [[head.removesuffix('<') for head in heads], rules]
    lines += [[' '.join(text.split()).replace('|', '\\|') or '-' for text in row] for row in rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
