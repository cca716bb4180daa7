"""The small part of Markdown that is understood."""

import pytest

from flexae_tf.experiments.exhibits.markdown import to_html


@pytest.mark.parametrize(
    'text, html',
    [
        ('# A\n\n## B & C\n\n# `D`', '<h1>A</h1>\n<h2>B &amp; C</h2>\n<h1><code>D</code></h1>'),
        ('one\ntwo\n\n\n  \nthree', '<p>one two</p>\n<p>three</p>'),
        ('- one\n  more\n- two', '<ul>\n<li>one more</li>\n<li>two</li>\n</ul>'),
        ('a `<b> ** [x](y)` c', '<p>a <code>&lt;b&gt; ** [x](y)</code> c</p>'),
        ('**a `b` c** d', '<p><strong>a <code>b</code> c</strong> d</p>'),
        ('**a** b **c**', '<p><strong>a</strong> b <strong>c</strong></p>'),
        (
            '[a **b**](https://c.org/?d=e&f) [g](#h)',
            '<p><a href="https://c.org/?d=e&amp;f">a <strong>b</strong></a> <a href="#h">g</a></p>',
        ),
        ('snake_case, "quoted", 1 > 0', '<p>snake_case, &quot;quoted&quot;, 1 &gt; 0</p>'),
        ('', ''),
    ],
)
def test_what_is_understood(text, html):
    assert to_html(text) == f'{html}\n'


def test_tables():
    text = '| a | `b` |\n|---|---:|\n| x\\|y | **1** |\n| z |  |'
    assert to_html(text) == (
        """\
<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">a</th><th scope="col" class="number"><code>b</code></th></tr></thead>
<tbody>
<tr><th scope="row">x|y</th><td class="number"><strong>1</strong></td></tr>
<tr><th scope="row">z</th><td class="number"></td></tr>
</tbody>
</table>
</div>
"""
    )


def test_headings_sink():
    assert to_html('# A\n\n## B', lower=1) == '<h2>A</h2>\n<h3>B</h3>\n'


@pytest.mark.parametrize(
    'text, what',
    [
        ('## A', 'level 2 below one of 0'),
        ('# A\n\n### B', 'level 3 below one of 1'),
        ('# A\nb', 'not a part'),
        ('#A', 'not a part'),
        ('a\n- b', 'not a part'),
        ('- a\n  - b', 'not a part'),
        ('- a\n    b', 'not a part'),
        ('- a\nb', 'neither an item'),
        ('* a', 'not a part'),
        ('1. a', 'not a part'),
        ('> a', 'not a part'),
        ('---', 'not a part'),
        ('a\n===', 'not a part'),
        ('    a', 'not a part'),
        ('```\na\n```', 'not a part'),
        ('![a](https://b.org)', 'not a part'),
        ('a  \nb', 'not a part'),
        ('a\\\nb', 'not a part'),
        ('a\n| b |', 'not a part'),
        ('| a |\n| b |', 'without a rule'),
        ('| a |', 'without a rule'),
        ('| a |\n|---|\n| b | c |', '2 cells under 1 heads'),
        ('| a |\n|---|\nb', 'begins and ends with a bar'),
        ('an *a*', "'*'"),
        ('an _a_', "'_'"),
        ('an **a', "'*'"),
        ('an `a', "'`'"),
        ('~a~ ~~b~~', 'not a part'),
        ('a ~~b~~', "'~~'"),
        ('a <b>', "'<'"),
        ('a &amp; b', "'&amp;'"),
        ('a [b] c', "'\\['"),
        ('a [b][c]', "'\\['"),
        ('a \\* b', 'write it as'),
        ('https://a.org', "'https://'"),
        ('[a](javascript:b)', 'a link to'),
        ('[a](b.md)', 'a link to'),
        ('[a](https://b.org "c")', 'a link to'),
        ('[]()', 'write it as'),
    ],
)
def test_what_is_refused(text, what):
    with pytest.raises(ValueError, match=what.replace('*', r'\*')):
        to_html(text)
