"""A small part of Markdown as HTML: headings, paragraphs, flat lists, tables, code, bold, links.

What is none of these is refused, not passed through: a page never shows half of a construct.
"""

import re
from collections.abc import Iterable
from html import escape

HEADING = re.compile(r'(#+) (\S.*)')
RULE = re.compile(r'-+:?')
LINK = re.compile(r'https?://[^\s"<>]+|#[\w-]+')
INLINE = re.compile(r'`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\[(?P<text>[^]]+)]\((?P<to>[^)]*)\)')
# Begins a block that is not supported, or reads like one.
FOREIGN = re.compile(r'[#>|=~]|```|!\[|\d+[.)] |[-+*](\s|-|$)|\s|$')
# Left when code, bold and links are taken out: another construct, or a broken one.
REST = re.compile(r'[*`<\[\]\\]|~~|&#?\w+;|(?<!\w)_|_(?!\w)|\bhttps?://')


def to_html(text: str, *, lower: int = 0) -> str:
    """HTML of Markdown; blocks are separated by blank lines.

    Args:
        text: Markdown.
        lower: levels by which headings sink: 1 makes an h2 of the first.

    Raises:
        ValueError: a construct other than those above, levels of headings that are skipped, or a
            link that leads neither to the web nor to an id of the page.
    """
    html, level = [], 0
    for block in re.split(r'\n(?:[ \t]*\n)+', text.strip('\n')):
        lines = block.split('\n')
        if heading := HEADING.fullmatch(block):
            depth = len(heading[1])
            if depth > level + 1 or depth + lower > 6:
                raise ValueError(f'heading of level {depth} below one of {level}: {block!r}')
            level = depth
            html.append(f'<h{depth + lower}>{_inline(heading[2])}</h{depth + lower}>')
        elif block.startswith('- '):
            html.append(_list(lines))
        elif block.startswith('|'):
            html.append(_table(lines))
        elif block:
            html.append(f'<p>{_inline(_joined(lines))}</p>')
    return '\n'.join(html) + '\n'


def _list(lines: Iterable[str]) -> str:
    items: list[list[str]] = []
    for line in lines:
        if line.startswith('- '):
            items.append([line[2:]])
        elif line.startswith('  '):
            items[-1].append(line[2:])
        else:
            raise ValueError(f'neither an item nor, indented by two, the rest of one: {line!r}')
    return '\n'.join(['<ul>', *(f'<li>{_inline(_joined(item))}</li>' for item in items), '</ul>'])


def _table(lines: list[str]) -> str:
    rows = [_cells(line) for line in lines]
    if len(rows) < 2 or not all(RULE.fullmatch(cell) for cell in rows[1]):
        raise ValueError(f'a table without a rule below its head: {lines[0]!r}')
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(f'{len(row)} cells under {len(rows[0])} heads: {line!r}')
    numbers = [' class="number"' if cell.endswith(':') else '' for cell in rows[1]]
    head = ''.join(
        f'<th scope="col"{number}>{_inline(cell)}</th>'
        for number, cell in zip(numbers, rows[0], strict=True)
    )
    html = ['<div class="scroll" tabindex="0">', '<table>', f'<thead><tr>{head}</tr></thead>']
    html.append('<tbody>')
    for name, *cells in rows[2:]:
        body = ''.join(
            f'<td{number}>{_inline(cell)}</td>'
            for number, cell in zip(numbers[1:], cells, strict=True)
        )
        html.append(f'<tr><th scope="row">{_inline(name)}</th>{body}</tr>')
    return '\n'.join([*html, '</tbody>', '</table>', '</div>'])


def _cells(line: str) -> list[str]:
    if not re.fullmatch(r'\|.*\|', line):
        raise ValueError(f'a row of a table begins and ends with a bar: {line!r}')
    return [cell.strip().replace(r'\|', '|') for cell in re.split(r'(?<!\\)\|', line[1:-1])]


def _joined(lines: list[str]) -> str:
    for line in lines:
        if FOREIGN.match(line) or line.endswith(('  ', '\\')):
            raise ValueError(f'not a part of Markdown that is known here: {line!r}')
    return ' '.join(lines)


def _inline(text: str) -> str:
    parts, end = [], 0
    for found in INLINE.finditer(text):
        parts.append(_plain(text[end : found.start()]))
        end = found.end()
        if found['code']:
            parts.append(f'<code>{escape(found["code"])}</code>')
        elif found['bold']:
            parts.append(f'<strong>{_inline(found["bold"])}</strong>')
        elif LINK.fullmatch(found['to']):
            parts.append(f'<a href="{escape(found["to"])}">{_inline(found["text"])}</a>')
        else:
            raise ValueError(f'a link to {found["to"]!r}: give https://... or #id')
    return ''.join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    if found := REST.search(text):
        raise ValueError(f'{found[0]!r} in {text!r}: write it as `code`, or without')
    return escape(text)
