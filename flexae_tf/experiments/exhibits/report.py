"""All that was made of the paper's tables and figures as one HTML page.

The page is complete in itself: it asks nothing of any network, and has no script.
"""

import base64
import pathlib
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from flexae_tf.experiments.exhibits.layout import Cell, Exhibit, Head, Picture, Table
from flexae_tf.experiments.exhibits.markdown import to_html

DEVIATIONS = pathlib.Path(__file__).parents[1] / 'DEVIATIONS.md'  # package data
TITLE = 'FlexAE: what was reproduced'
PNG = b'\x89PNG\r\n\x1a\n'
# What a browser would ask for unasked is refused, and its request for an icon answered.
HEAD = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{TITLE}</title>
"""
CSS = """\
:root {
  --ground: #fff; --raised: #f6f6f4; --ink: #1c1c1a; --faint: #5c5c58; --line: #d9d9d4;
  --link: #0b57a4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #161618; --raised: #212124; --ink: #e6e6e3; --faint: #a4a4a0; --line: #3b3b40;
    --link: #8ab8f0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 76rem;
  background: var(--ground); color: var(--ink); overflow-wrap: break-word;
  font: 1rem/1.55 system-ui, sans-serif; -webkit-text-size-adjust: 100%;
}
h1, h2, h3 { line-height: 1.25; text-wrap: balance; }
h1 { margin: 1rem 0; font-size: clamp(1.6rem, 5vw, 2.2rem); }
h2 { margin: 3.5rem 0 1rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h2, h3 { scroll-margin-top: 1rem; }
h3 { margin: 2rem 0 .5rem; }
p, ul, ol { max-width: 46rem; }
ul { padding-left: 1.3rem; }
li { margin: .3rem 0; }
a { color: var(--link); text-underline-offset: .15em; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
code, pre { font-family: ui-monospace, Consolas, monospace; font-size: .9em; }
code { white-space: nowrap; }
h2 code { margin-left: .4em; color: var(--faint); font-size: .6em; font-weight: normal; }
dl {
  display: grid; grid-template-columns: minmax(5rem, max-content) minmax(0, 1fr);
  gap: .25rem 1.25rem; max-width: 46rem;
}
dt, .notes, figcaption { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 2rem 0; }
figcaption { max-width: 46rem; margin-bottom: .6rem; }
.table > figcaption { color: var(--ink); font-weight: 600; }
.picture {
  display: inline-block; max-width: 100%; margin: 1rem min(2rem, 3vw) 1rem 0; vertical-align: top;
}
.view { overflow-x: auto; }
.view img { max-width: max(100%, 44rem); }
.picture figcaption { max-width: 34rem; margin-top: .5rem; font-size: .9rem; }
img { display: block; max-width: 100%; height: auto; padding: 4px; background: #fff; }
.scroll {
  width: fit-content; max-width: 100%; overflow-x: auto; border: 1px solid var(--line);
  border-width: 1px 0;
}
table {
  width: max-content; border-collapse: separate; border-spacing: 0; font-size: .875rem;
  line-height: 1.35;
}
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; background: var(--ground); }
th { font-weight: 600; }
tbody th { font-weight: normal; }
thead th { vertical-align: bottom; border-bottom: 1px solid var(--line); }
th[scope=colgroup] { border-left: 1px solid var(--line); }
tbody tr:nth-child(even) > * { background: var(--raised); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.table .number, .table thead th { white-space: nowrap; }
td { max-width: 14rem; }
tbody th, thead tr:first-child th:first-child {
  position: sticky; left: 0; max-width: min(40vw, 14rem); border-right: 1px solid var(--line);
}
.notes { font-size: .875rem; }
pre { max-width: 100%; overflow-x: auto; padding: .75rem 1rem; background: var(--raised); }
pre code { white-space: pre; }
@media print {
  @page { size: landscape; margin: 12mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .table .number, .table thead th { white-space: normal; }
  .scroll, .view { overflow: visible; }
  .view img { max-width: 100%; }
  table { width: auto; font-size: 7pt; }
  th, td { padding: .15rem .3rem; }
  tbody th, thead tr:first-child th:first-child { position: static; }
  h2, h3, figcaption { break-after: avoid; }
  .picture, tr, li { break-inside: avoid; }
  pre code { white-space: pre-wrap; }
}
"""


def report(
    exhibits: Sequence[Exhibit],
    *,
    about: Mapping[str, str],
    protocols: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
    deviations: str,
    missing: Sequence[str],
) -> str:
    """The page.

    Args:
        exhibits: a section each.
        about: what stands below the title: scale, date, code version, machine.
        protocols: fields of each `Protocol.id` that the exhibits name.
        environment: versions of what trained the runs, as far as they are known here.
        deviations: Markdown as `to_html` reads it, of a heading of level 1 and what is below it;
            `DEVIATIONS` has ours.
        missing: what is not shown, and why; a line each.

    Raises:
        ValueError: names of exhibits that are no ids or not unique, pictures that are no PNG, or
            Markdown that `to_html` refuses.
    """
    sections = {exhibit.name: (exhibit.title, _exhibit(exhibit)) for exhibit in exhibits}
    own = {
        'missing': ('What is missing', _missing(missing)),
        'protocols': ('Protocols', _protocols(protocols)),
        'environment': ('Environment of the trainings', _facts(environment)),
    }
    names = [exhibit.name for exhibit in exhibits]
    for name in names:
        if names.count(name) > 1 or name in {*own, 'deviations', 'contents'}:
            raise ValueError(f'{name!r} names two sections')
        if not re.fullmatch(r'[A-Za-z][\w-]*', name):
            raise ValueError(f'{name!r} is no id')
    sections |= own
    titles = {name: title for name, (title, _) in sections.items()} | {'deviations': 'Deviations'}
    return '\n'.join(
        [
            f'{HEAD}<style>\n{CSS}</style>\n</head>\n<body>',
            f'<header>\n<h1>{TITLE}</h1>',
            _summary(exhibits, missing),
            f'{_facts(about)}\n</header>',
            _contents(titles),
            '<main>',
            *(
                _section(name, title, body, code=name if name in names else '')
                for name, (title, body) in sections.items()
            ),
            f'<section id="deviations">\n{to_html(deviations, lower=1)}</section>',
            '</main>\n</body>\n</html>\n',
        ]
    )


def _summary(exhibits: Sequence[Exhibit], missing: Sequence[str]) -> str:
    lacking = ''
    if missing:
        lacking = f'; <a href="#missing">missing</a>: {len(missing)}'
    return (
        '<p>Tables and figures of “To Regularize or Not To Regularize? The Bias Variance '
        'Trade-off in Regularized AEs” (<a href="https://arxiv.org/abs/2006.05838">arXiv '
        "2006.05838</a>), and experiments on its claims: the paper's numbers beside those that "
        f'were measured here. Shown: {len(exhibits)}{lacking}. Scores compare only within one '
        '<a href="#protocols">protocol</a>; where the paper leaves something open, '
        '<a href="#deviations">Deviations</a> tells what was chosen.</p>'
    )


def _contents(titles: Mapping[str, str]) -> str:
    items = [f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in titles.items()]
    return '\n'.join(
        [
            '<nav aria-labelledby="contents">',
            '<h2 id="contents">Contents</h2>',
            *('<ul>', *items, '</ul>'),
            '</nav>',
        ]
    )


def _section(name: str, title: str, body: str, *, code: str) -> str:
    named = f' <code>{escape(code)}</code>' if code else ''
    return f'<section id="{name}">\n<h2>{escape(title)}{named}</h2>\n{body}\n</section>'


def _exhibit(exhibit: Exhibit) -> str:
    pictures = (_picture(picture, exhibit.title) for picture in exhibit.pictures)
    return '\n'.join([*(table.html() for table in exhibit.tables), *pictures])


def _picture(picture: Picture, title: str) -> str:
    if not picture.png.startswith(PNG):
        raise ValueError(f'{picture.name}: no PNG, it begins with {picture.png[:8]!r}')
    # Known before they are decoded, so that nothing moves under the reader; the frame is 4 wide.
    # Decoded with the page, not beside it: else a print of it may have holes.
    width, height = struct.unpack('>II', picture.png[16:24])
    data = base64.b64encode(picture.png).decode()
    return (
        '<figure class="picture">\n'
        f'<div class="view" tabindex="0"><img src="data:image/png;base64,{data}" '
        f'width="{width + 8}" height="{height + 8}" '
        f'alt="{escape(f"{picture.name}: {title}")}"></div>\n'
        f'<figcaption>{escape(picture.caption)}</figcaption>\n</figure>'
    )


def _missing(missing: Iterable[str]) -> str:
    items = [f'<li>{escape(line)}</li>' for line in missing]
    return '\n'.join(['<ul>', *items, '</ul>']) if items else '<p>Nothing.</p>'


def _protocols(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """A table; without the columns that are empty."""
    columns = dict.fromkeys(
        name for fields in protocols.values() for name, value in fields.items() if value is not None
    )
    if not columns:
        return '<p>Nothing was scored.</p>'
    return Table(
        caption='What the scores of each protocol mean; those of two do not compare',
        heads=(Head('protocol'), *map(Head, columns)),
        rows=tuple(
            (Cell(name), *(Cell(_value(fields.get(column))) for column in columns))
            for name, fields in protocols.items()
        ),
    ).html()


def _value(value: Any) -> str:
    if value is None:
        return '-'
    return ('no', 'yes')[value] if isinstance(value, bool) else str(value)


def _facts(facts: Mapping[str, str]) -> str:
    items = [f'<dt>{escape(name)}</dt>\n<dd>{escape(text)}</dd>' for name, text in facts.items()]
    return '\n'.join(['<dl>', *items, '</dl>']) if items else '<p>Nothing is known.</p>'
