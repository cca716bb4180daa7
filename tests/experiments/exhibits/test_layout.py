"""Tables as text."""

import html.parser

import pytest

from flexae_tf.experiments.exhibits.layout import Cell, Head, Table


@pytest.fixture
def table():
    return Table(
        caption='Distances',
        heads=(Head('Method'), Head('Rec.', 'MNIST', numeric=True), Head('Verdict', 'MNIST')),
        rows=(
            (Cell('FlexAE'), Cell('4.33', best=True), Cell('order kept')),
            (Cell('A|B <i>'), Cell('-'), Cell('two\nlines & more')),
        ),
        notes=('protocol 0123abcd', 'a < b'),
        commands=('python bin/reproduce.py --x="<y>"',),
    )


def test_markdown(table):
    assert table.markdown() == (
        """\
**Distances**

| Method | MNIST Rec. | MNIST Verdict |
| --- | ---: | --- |
| FlexAE | **4.33** | order kept |
| A\\|B &lt;i> | - | two lines & more |

- protocol 0123abcd
- a &lt; b

```
python bin/reproduce.py --x="<y>"
```
"""
    )


def test_html(table):
    assert table.html() == (
        """\
<figure class="table">
<figcaption>Distances</figcaption>
<div class="scroll" tabindex="0">
<table>
<thead>
<tr><th scope="col" rowspan="2">Method</th><th scope="colgroup" colspan="2">MNIST</th></tr>
<tr><th scope="col" class="number">Rec.</th><th scope="col">Verdict</th></tr>
</thead>
<tbody>
<tr><th scope="row">FlexAE</th><td class="number"><strong>4.33</strong></td><td>order kept</td></tr>
<tr><th scope="row">A|B &lt;i&gt;</th><td class="number">-</td><td>two
lines &amp; more</td></tr>
</tbody>
</table>
</div>
<ul class="notes"><li>protocol 0123abcd</li><li>a &lt; b</li></ul>
<pre class="commands"><code>python bin/reproduce.py --x=&quot;&lt;y&gt;&quot;</code></pre>
</figure>
"""
    )


def test_everything_is_escaped_and_nothing_is_styled():
    evil = '</td><script style="x">&'
    heads, row = (Head(evil, evil), Head(evil)), (Cell(evil, best=True), Cell(evil))
    text = Table(caption=evil, heads=heads, rows=(row,), notes=(evil,), commands=(evil,)).html()
    assert text.count('&lt;/td&gt;&lt;script style=&quot;x&quot;&gt;&amp;') == 8
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, dict(attrs)))
    parser.feed(text)
    assert 'script' not in {tag for tag, _ in tags} and tags.count(('td', {})) == 1
    assert not any('style' in attributes for _, attributes in tags)


def test_without_groups_there_is_one_row_of_heads_and_without_notes_no_list():
    table = Table(caption='C', heads=(Head('m'), Head('Gen.')), rows=())
    assert table.markdown() == '**C**\n\n| m | Gen. |\n| --- | --- |\n'
    assert '<thead>\n<tr><th scope="col">m</th><th scope="col">Gen.</th></tr>\n</thead>' in (
        table.html()
    )
    assert '<ul' not in table.html() and '<pre' not in table.html()


def test_neighbours_share_a_group_and_others_do_not():
    heads = (Head('m'), Head('a', 'X'), Head('b', 'X'), Head('c', 'Y'), Head('d'), Head('e', 'X'))
    text = Table(caption='C', heads=heads, rows=()).html()
    assert [line.count('<th') for line in text.splitlines() if line.startswith('<tr>')] == [5, 4]
    assert [text.count(f'colspan="{n}"') for n in (1, 2)] == [2, 1]


def test_a_row_has_a_cell_for_every_head():
    with pytest.raises(ValueError, match='1 cells under 2 heads'):
        Table(caption='C', heads=(Head('a'), Head('b')), rows=((Cell('x'),),))
