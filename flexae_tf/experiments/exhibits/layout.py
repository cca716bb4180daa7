"""What is shown: tables of text, as Markdown and as HTML, and pictures."""

import dataclasses
import itertools
from html import escape
from typing import NamedTuple


class Head(NamedTuple):
    """Head of a column.

    Attributes:
        name: its own.
        group: what it shares with its neighbours; '' for nothing.
        numeric: whether it holds numbers.
    """

    name: str
    group: str = ''
    numeric: bool = False


class Cell(NamedTuple):
    """Text, in bold where it is the best of its column."""

    text: str
    best: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table, the first cell of each row being its name.

    Attributes:
        caption: one line above.
        heads: of the columns.
        rows: a cell for every head.
        notes: below, a line each.
        commands: that make it; below the notes, as they are.

    Raises:
        ValueError: a row with more or fewer cells than heads.
    """

    caption: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.heads):
                raise ValueError(f'{len(row)} cells under {len(self.heads)} heads: {row}')

    def markdown(self) -> str:
        """As GitHub reads it; a group is repeated in the head of each of its columns."""
        heads = [_plain(f'{head.group} {head.name}') for head in self.heads]
        rules = ['---:' if head.numeric else '---' for head in self.heads]
        rows = [[_strong(cell) for cell in row] for row in self.rows]
        parts = [f'**{_plain(self.caption)}**']
        parts.append('\n'.join(f'| {" | ".join(line)} |' for line in (heads, rules, *rows)))
        parts.append('\n'.join(f'- {_plain(note)}' for note in self.notes))
        parts.append('\n'.join(['```', *self.commands, '```']) if self.commands else '')
        return '\n\n'.join(filter(None, parts)) + '\n'

    def html(self) -> str:
        """A `figure`, of class `table`, to be styled from outside.

        What is wider than the page has to scroll in `.scroll`; numbers are `.number`.
        """
        lines = ['<figure class="table">', f'<figcaption>{escape(self.caption)}</figcaption>']
        # Reached by the keyboard, else it could be scrolled by a pointer alone.
        lines += ['<div class="scroll" tabindex="0">', '<table>', '<thead>']
        lines += [f'<tr>{"".join(row)}</tr>' for row in self._head_rows()]
        lines += ['</thead>', '<tbody>', *map(self._body_row, self.rows), '</tbody>']
        lines += ['</table>', '</div>']
        if self.notes:
            notes = ''.join(f'<li>{escape(note)}</li>' for note in self.notes)
            lines.append(f'<ul class="notes">{notes}</ul>')
        if self.commands:
            commands = escape('\n'.join(self.commands))
            lines.append(f'<pre class="commands"><code>{commands}</code></pre>')
        return '\n'.join([*lines, '</figure>']) + '\n'

    def _head_rows(self) -> list[list[str]]:
        if not any(head.group for head in self.heads):
            return [[_head(head) for head in self.heads]]
        upper, lower = [], []
        for group, heads in itertools.groupby(self.heads, lambda head: head.group):
            heads = list(heads)
            if group:
                upper.append(f'<th scope="colgroup" colspan="{len(heads)}">{escape(group)}</th>')
                lower += [_head(head) for head in heads]
            else:
                upper += [_head(head, rows=2) for head in heads]
        return [upper, lower]

    def _body_row(self, row: tuple[Cell, ...]) -> str:
        name, *cells = row
        parts = [f'<th scope="row">{_bold(name)}</th>']
        for head, cell in zip(self.heads[1:], cells, strict=True):
            parts.append(f'<td{_number(head)}>{_bold(cell)}</td>')
        return f'<tr>{"".join(parts)}</tr>'


def _head(head: Head, *, rows: int = 1) -> str:
    span = f' rowspan="{rows}"' if rows > 1 else ''
    return f'<th scope="col"{span}{_number(head)}>{escape(head.name)}</th>'


def _number(head: Head) -> str:
    return ' class="number"' if head.numeric else ''


def _bold(cell: Cell) -> str:
    return f'<strong>{escape(cell.text)}</strong>' if cell.best else escape(cell.text)


def _strong(cell: Cell) -> str:
    return f'**{_plain(cell.text)}**' if cell.best else _plain(cell.text)


def _plain(text: str) -> str:
    """One line that neither ends a cell nor begins a tag."""
    return ' '.join(text.split()).replace('|', '\\|').replace('<', '&lt;')


class Picture(NamedTuple):
    """A picture, and what is to be seen in it.

    Attributes:
        name: stem of its file.
        caption: a sentence or two: what is shown, of what, by which protocol.
        png: its bytes.
    """

    name: str
    caption: str
    png: bytes


class Parts(NamedTuple):
    """What an exhibit is made of.

    Attributes:
        tables: with verdicts and protocols in their notes.
        pictures: as they are to be looked at.
    """

    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


class Exhibit(NamedTuple):
    """All that is made of an artifact: a table or figure of the paper, or an experiment.

    Attributes:
        name: of the artifact.
        title: what it shows.
        tables: as in `Parts`.
        pictures: as in `Parts`.
    """

    name: str
    title: str
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
