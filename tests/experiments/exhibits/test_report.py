"""The page of everything, and the deviations it tells of."""

import base64
import dataclasses
import html.parser
import re
import struct
import subprocess
import sys

import pytest

from flexae_tf import config
from flexae_tf.experiments.exhibits.layout import Cell, Exhibit, Head, Picture, Table
from flexae_tf.experiments.exhibits.report import DEVIATIONS, PNG, report
from tests.conftest import ROOT

VOID = {'meta', 'link', 'img', 'br'}
EVIL = '</dd><script src="http://evil.org">&'
PICTURE = PNG + b'\0\0\0\rIHDR' + struct.pack('>II', 300, 70) + bytes(range(256))


class Page(html.parser.HTMLParser):
    """Tags in order, with what must hold of any page checked on the way."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if 'style' not in self.open:
            self.text.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]

    def values(self, attribute):
        return [a[attribute] for _, a in self.tags if attribute in a]


def make(text='', *, exhibits=None, deviations='# Deviations\n\n## One\n\nText.'):
    """A page with `text` wherever there is text."""
    table = Table(
        caption=f'Distances {text}',
        heads=(Head(f'Method {text}'), Head('Rec.', f'MNIST {text}', numeric=True)),
        rows=((Cell(f'FlexAE {text}'), Cell(f'4.33 {text}', best=True)),),
        notes=(f'protocol {text}',),
        commands=(f'python {text}',),
    )
    picture = Picture(f'fig2 {text}', f'Curves {text}', PICTURE)
    shown = [
        Exhibit('table1', f'Distances {text}', (table, table)),
        Exhibit('fig2', f'Curves {text}', (table,), (picture, picture)),
    ]
    return report(
        shown if exhibits is None else exhibits,
        about={f'scale {text}': f'small {text}'},
        protocols={
            f'0123abcd {text}': {'dataset': f'mnist {text}', 'crop': None, 'stretch': False},
            '4567abcd': {'dataset': 'cifar10', 'crop': None, 'data': 7},
        },
        environment={f'python {text}': f'3.11 {text}'},
        deviations=deviations,
        missing=[f'table3 {text}'],
    )


@pytest.mark.parametrize('text', ['', EVIL])
@pytest.mark.parametrize('deviations', [DEVIATIONS.read_text(), '# Deviations'])
def test_the_page_is_whole(text, deviations):
    page = Page(make(text, deviations=deviations))
    ids = page.values('id')
    assert len(ids) == len(set(ids)) and not any(re.search(r'\s', i) for i in ids)
    targets = [href for href in page.values('href') if href.startswith('#')]
    assert {target[1:] for target in targets} <= set(ids)
    assert set(page.values('aria-labelledby')) <= set(ids)
    assert [tag for tag, _ in page.tags[:2]] == ['html', 'head']
    assert page.all('html') == [{'lang': 'en'}] and {'charset': 'utf-8'} in page.all('meta')
    for tag in ('h1', 'title', 'header', 'nav', 'main'):
        assert len(page.all(tag)) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch('h[1-6]', tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


@pytest.mark.parametrize('text', ['', EVIL])
def test_the_page_asks_for_nothing(text):
    written = make(text, deviations=DEVIATIONS.read_text())
    page = Page(written)
    assert not {tag for tag, _ in page.tags} & {'script', 'iframe', 'object', 'base', 'form'}
    assert all(src.startswith('data:image/png;base64,') for src in page.values('src'))
    outward = [(tag, a['href']) for tag, a in page.tags if a.get('href', '#')[0] != '#']
    assert {tag for tag, href in outward if href.startswith('https://')} == {'a'}
    assert [href for tag, href in outward if tag != 'a'] == ['data:,']
    assert not page.values('style') and not [a for _, a in page.tags if 'srcset' in a]
    css = re.search('<style>(.*?)</style>', written, re.S)[1]
    assert 'url(' not in css and '@import' not in css and css.count('{') == css.count('}')


def test_everything_is_escaped():
    words = ''.join(Page(make(EVIL)).text)
    plain = ''.join(Page(make('')).text)
    assert words.count(EVIL) > 20 and words.replace(EVIL, '').split() == plain.split()
    assert [a['alt'] for a in Page(make(EVIL)).all('img')] == [f'fig2 {EVIL}: Curves {EVIL}'] * 2


def test_pictures_are_in_the_page_byte_for_byte():
    for image in Page(make()).all('img'):
        assert base64.b64decode(image['src'].partition(',')[2], validate=True) == PICTURE
        assert (image['width'], image['height']) == ('308', '78')  # with its frame
        assert 'decoding' not in image and image['alt'] == 'fig2 : Curves '


def test_every_exhibit_is_in_the_contents():
    page = Page(make())
    assert page.values('href')[:1] == ['data:,']
    listed = [href for href in page.values('href') if href.startswith('#')][-6:]
    sections = ['table1', 'fig2', 'missing', 'protocols', 'environment', 'deviations']
    assert listed == [f'#{name}' for name in sections]
    assert [a['id'] for a in page.all('section')] == sections


def test_fields_that_no_protocol_has_are_left_out():
    text = make()
    assert '<th scope="col">dataset</th><th scope="col">stretch</th><th scope="col">data' in text
    assert '<td>cifar10</td><td>-</td><td>7</td>' in text and '<td>no</td>' in text


def test_a_page_of_nothing():
    text = report([], about={}, protocols={}, environment={}, deviations='# Deviations', missing=[])
    Page(text)
    assert 'missing</a>:' not in text and '<p>Nothing.</p>' in text


@pytest.mark.parametrize(
    'exhibits, what',
    [
        ([Exhibit('a', 'A'), Exhibit('a', 'B')], 'two sections'),
        ([Exhibit('protocols', 'A')], 'two sections'),
        ([Exhibit('contents', 'A')], 'two sections'),
        ([Exhibit('a b', 'A')], 'no id'),
        ([Exhibit('a', 'A', (), (Picture('b', 'B', b'GIF89a'),))], 'b: no PNG'),
    ],
)
def test_what_is_refused(exhibits, what):
    with pytest.raises(ValueError, match=what):
        make(exhibits=exhibits)


def test_every_flag_named_in_the_deviations_exists():
    options = [c for c in vars(config).values() if dataclasses.is_dataclass(c)]
    known = {field.name for option in options for field in dataclasses.fields(option)}
    text = DEVIATIONS.read_text()
    named = set(re.findall(r'--([a-z_]+)', text))
    assert len(named) > 25 and not named - known
    for path in re.findall(r'(?:flags|bin)/[\w/]+\.\w+', text):
        assert (ROOT / path).exists(), path


def test_values_of_flags_named_in_the_deviations_are_taken():
    train = {'divergence', 'method', 'network', 'critic_batches'}
    for name, value in re.findall(r'--([a-z_]+)=([\w.]+)', DEVIATIONS.read_text()):
        options = config.TrainConfig if name in train | {'code_weight'} else config.EvaluateConfig
        field = next(f for f in dataclasses.fields(options) if f.name == name)
        choices = field.metadata.get('choices')
        assert choices is None or value in choices, (name, value)


def test_every_deviation_says_what_else_there_is():
    for item in re.split(r'\n(?=- |\n)', DEVIATIONS.read_text()):
        if item.startswith('- '):
            assert re.match(r'- \*\*[^*]+\.\*\* ', item), item
            assert re.search(r'Other:\s', item), item


def test_code_in_the_deviations_fits_on_a_phone():
    assert max(map(len, re.findall('`(.*?)`', DEVIATIONS.read_text()))) <= 30


def test_the_deviations_are_package_data():
    text = (ROOT / 'setup.py').read_text()
    assert "'flexae_tf.experiments': ['DEVIATIONS.md', 'recorded/*.json*', 'recorded/" in text


def test_no_tensorflow_is_needed():
    code = (
        "import sys, flexae_tf.experiments.exhibits.report; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
