"""Every parser reads mutations of valid files: only errors for the user may come out, in time."""

import collections
import contextlib
import gzip
import io
import itertools
import json
import os
import shutil
import struct
import tarfile
import time
import zipfile

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from flexae_tf import checked_files, data
from flexae_tf.config import TrainConfig
from flexae_tf.config.options import from_arguments
from flexae_tf.data import image_folder, memory
from flexae_tf.errors import UserError
from flexae_tf.evaluation import declaration, image_files, network_files, statistics_file
from flexae_tf.metrics.frechet import moments
from flexae_tf.metrics.protocol import Protocol
from flexae_tf.training import event_files
from flexae_tf.training.checkpoints import Checkpoints
from flexae_tf.training.workdir import Workdir
from tests.data import faces

INPUTS = 2000  # for each parser
SECONDS = 5.0  # that an input may take
NUMBERS = [
    struct.pack(order + kind, value)
    for order, (kind, values) in itertools.product(
        '<>', {'H': (0, 1, 2**15, 2**16 - 1), 'I': (0, 2**31, 2**32 - 1), 'Q': (2**63,)}.items()
    )
    for value in values
]
TEXTS = [
    *(b'"', b'{', b'}', b'[' * 2000, b']', b',', b':', b'null', b'true', b'NaN', b'1e999', b'-1'),
    *(b'0', b'10000000000000', b'9' * 5000, b'../../escaped', b'/escaped', b'\0', b'\xff', b'\n'),
    *(b'"step": 1, ', b'{"a": {}}', b"'", b'(', b'|O', b'<f8', b'\xed\xa0\x80', b'-' * 3000),
]
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)


@strategies.composite
def mutations(draw, contents):
    """Draws a valid content with one to four changes: bits, numbers, texts, cuts, repetitions."""
    content = bytearray(draw(strategies.sampled_from(contents)))
    for _ in range(draw(strategies.integers(1, 4))):
        start = draw(strategies.integers(0, max(0, len(content) - 1)))
        end = start + draw(strategies.integers(1, 40))
        kind = draw(strategies.sampled_from(('bit', 'number', 'text', 'cut', 'remove', 'repeat')))
        if kind == 'bit' and content:
            content[start] ^= 1 << draw(strategies.integers(0, 7))
        elif kind == 'number':
            number = draw(strategies.sampled_from(NUMBERS))
            content[start : start + len(number)] = number
        elif kind == 'text':
            content[start : draw(strategies.sampled_from((start, end)))] = draw(
                strategies.sampled_from(TEXTS)
            )
        elif kind == 'cut' and draw(strategies.booleans()):
            del content[start:]
        elif kind == 'remove':
            del content[start:end]
        elif kind == 'repeat':
            content[start:start] = content[start:end] * draw(strategies.sampled_from((1, 100)))
    return bytes(content)


class Unpickled:
    """An object that leaves a trace where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('unpickled',)


@pytest.fixture
def fuzz(tmp_path, monkeypatch):
    """`fuzz(name, contents, parse)`: parses mutations; asserts errors, times and written files."""
    box = tmp_path / 'box'
    (box / 'here').mkdir(parents=True)
    monkeypatch.chdir(box / 'here')
    monkeypatch.setenv('TMPDIR', str(box))

    def run(name, contents, parse, *, inputs=INPUTS, group=1):
        ends, slowest = collections.Counter(), 0.0

        @hypothesis.settings(
            max_examples=inputs // group,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(strategies.lists(mutations(contents), min_size=group, max_size=group))
        def check(mutated):
            nonlocal slowest
            started, refused = time.monotonic(), 0
            try:
                refused = parse(*mutated) or 0
            except UserError as error:
                refused = group
                assert '\n' not in str(error)
            seconds = time.monotonic() - started
            assert seconds < SECONDS
            slowest = max(slowest, seconds)
            ends.update(refused=refused, accepted=group - refused)

        before, peak = (sorted(os.listdir('/')), sorted(os.listdir(tmp_path))), memory.peak()
        with contextlib.redirect_stdout(io.StringIO()):
            for content in contents:  # valid files are accepted
                assert not parse(*[content] * group)
            check()
        assert before == (sorted(os.listdir('/')), sorted(os.listdir(tmp_path)))
        assert not [path for path in box.rglob('*') if path.name in ('escaped', 'unpickled')]
        assert ends.total() >= inputs and memory.peak() - peak < 1.0  # GiB
        print(
            f'SOAK fuzz {name}: {ends.total()} inputs, {ends["refused"]} refused, '
            f'{ends["accepted"]} accepted, slowest {slowest:.2f} s'
        )

    run.box = box
    return run


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(compress=True, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **arrays)
    return file.getvalue()


def describe_and_load(path):
    config = TrainConfig(dataset='folder', data_dir=str(path), batch_size=2, validation_examples=2)
    data.describe(config)
    data.load(config)


@pytest.mark.parametrize('kind', ['npy', 'npz'])
def test_array_headers(fuzz, kind):
    path = fuzz.box / f'data.{kind}'
    whole = npy(PIXELS)
    start = len(whole) - PIXELS.nbytes
    objects = npy(np.array([Unpickled()] * 12, object))

    def parse(header):
        content = header + whole[start:]
        if kind == 'npz':  # with a correct checksum of the entry
            with zipfile.ZipFile(path, 'w') as archive:
                archive.writestr('images.npy', content)
                archive.writestr('more.npy', objects)
        else:
            path.write_bytes(content)
        image_files.load(path, flag='--fake', max_images=9, value_range='0..255')

    fuzz(f'.{kind} headers', [whole[:start]], parse)


def test_array_files(fuzz):
    labels = np.arange(12) % 3
    contents = [
        npz(images=PIXELS, labels=labels),
        npz(False, x_train=PIXELS, y_train=labels.astype('>i4'), x_test=PIXELS, y_test=labels),
        npz(images=np.asfortranarray(PIXELS), more=np.array([Unpickled()], object)),
        npy(PIXELS),
    ]
    path = fuzz.box / 'data.npz'

    def parse(content):
        path.write_bytes(content)
        describe_and_load(path)

    fuzz('array files', contents, parse)


def test_statistics(fuzz):
    path = fuzz.box / 'real.npz'
    found = moments(np.random.default_rng(0).random([9, 3]))
    statistics_file.save_statistics(path, found, Protocol(dataset='mnist', split='test', num=9))
    contents = [path.read_bytes(), npz(mu=found.mean, sigma=found.covariance)]

    def parse(content):
        path.write_bytes(content)
        statistics_file.read_statistics(path, allow_unverified=True)

    fuzz('statistics', contents, parse)


def images(kind):
    """Returns small files of an image format."""
    if kind == 'JPEG':
        return [tf.io.encode_jpeg(PIXELS[0], xmp_metadata='x' * n).numpy() for n in (0, 9)] + [
            tf.io.encode_jpeg(PIXELS[0], progressive=True).numpy()
        ]
    if kind == 'PNG':
        return [
            *(tf.io.encode_png(PIXELS[0, ..., :c]).numpy() for c in (1, 3)),
            tf.io.encode_png(np.dstack([PIXELS[0], PIXELS[0, ..., 0]])).numpy(),
            tf.io.encode_png(PIXELS[0].astype(np.uint16) * 257).numpy(),
        ]
    if kind == 'BMP':
        size = struct.pack('<IHHIIiiHHIIiiII', 822, 0, 0, 54, 40, 16, 16, 1, 24, 0, 768, 0, 0, 0, 0)
        return [b'BM' + size + PIXELS[0].tobytes()]
    image = pytest.importorskip('PIL.Image')
    frames, contents = [image.fromarray(x) for x in PIXELS[:3]], []
    variants = ({}, dict(save_all=True, append_images=frames[1:]))
    for options in (*variants, dict(lossless=True)) if kind == 'WEBP' else variants:
        file = io.BytesIO()
        frames[0].save(file, kind, **options)
        contents.append(file.getvalue())
    return contents


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'GIF', 'WEBP', 'BMP'])
def test_images(fuzz, kind):
    folder = fuzz.box / 'images'
    folder.mkdir()

    def parse(*contents):
        for i, content in enumerate(contents):
            (folder / f'{i}.{kind.lower()}').write_bytes(content)
        x, _ = image_folder.load_unresized(
            folder, flag='--fake', max_images=len(contents), resize_to=8, skip_bad_images=True
        )
        return len(contents) - len(x)

    fuzz(f'{kind} images', images(kind), parse, group=20)


def tar(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.pax_headers = {'comment': 'x'}
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize('kind', ['zip', 'tar', 'tgz', 'tgz content'])
def test_archives(fuzz, kind):
    files = {'saved_model.pb': b'x' * 99, 'variables/variables.index': b'y' * 99}
    path = fuzz.box / f'network.{kind.split()[0]}'
    content = tar(files)
    if kind == 'zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, part in files.items():
                archive.writestr(name, part)
        content = path.read_bytes()
    elif kind == 'tgz':
        content = gzip.compress(content)

    def parse(content):
        path.write_bytes(gzip.compress(content, 1) if kind == 'tgz content' else content)
        try:
            network_files.from_path(str(path), fuzz.box / 'cache')
        finally:
            shutil.rmtree(fuzz.box / 'cache', ignore_errors=True)

    fuzz(f'{kind} archives', [content], parse)


def document(fuzz):
    path = fuzz.box / 'document.json'
    checked_files.write_json(path, {'step': 3, 'files': {'a': [1, 'b']}, 'nested': {'x': [0.5]}})
    return path


def test_json_documents(fuzz):
    path = document(fuzz)
    schema = {'step': int, 'files': {'*': [int | str]}, 'nested': object}

    def parse(content):
        path.write_bytes(content)
        checked_files.read_json(path, schema)

    unsealed = json.dumps({'step': 3, 'files': {}, 'nested': {}}).encode()
    fuzz('JSON documents', [path.read_bytes(), unsealed], parse)


def test_json_lines(fuzz):
    path = fuzz.box / 'stats.jsonl'
    for step in range(3):
        checked_files.append_jsonl(path, {'step': step, 'loss': 0.5})

    def parse(content):
        path.write_bytes(content)
        checked_files.read_jsonl(path, checked_files.SCALARS)
        checked_files.append_jsonl(path, {'step': 9, 'loss': 0.5})
        checked_files.truncate_jsonl(path, 1)

    fuzz('JSON lines', [path.read_bytes(), b'{"step": 1, "loss": 2}\n'], parse)


def test_manifests_of_folders(fuzz):
    folder = fuzz.box / 'export'
    (folder / 'variables').mkdir(parents=True)
    (folder / 'variables' / 'a').write_bytes(b'content')
    checked_files.write_manifest(folder)
    path = folder / checked_files.MANIFEST

    def parse(content):
        path.write_bytes(content)
        checked_files.check_manifest(folder)

    fuzz('manifests of folders', [path.read_bytes()], parse)


def test_manifests_of_checkpoints(fuzz):
    variable = tf.Variable(1.0)
    checkpoint = tf.train.Checkpoint(variable=variable, step=tf.Variable(7, dtype=tf.int64))
    folder = fuzz.box / 'checkpoints'
    folder.mkdir()
    checkpoints = Checkpoints(folder, checkpoint, name='ckpt', identity='id')
    checkpoints.save(7)
    (path,) = folder.glob('*.manifest.json')

    def parse(content):
        path.write_bytes(content)
        checkpoints.restore(7)
        assert variable == 1.0

    fuzz('manifests of checkpoints', [path.read_bytes()], parse)


def test_configurations(fuzz, config, synthetic):
    folder = Workdir(fuzz.box / 'run')
    folder.open(config(workdir=str(fuzz.box / 'run')), synthetic)
    folder.close()
    path = fuzz.box / 'run' / 'config.json'

    def parse(content):
        path.write_bytes(content)
        folder.read()

    fuzz('config.json', [path.read_bytes()], parse)


def test_flagfiles(fuzz):
    path = fuzz.box / 'a.flags'
    contents = [
        b'# comment\n--method=flexae\n--latent_dim=32\n--enc_learning_rate=1e-5\n--deterministic\n',
        b'--dataset=folder\n--data_dir=$HOME/x\n--nodeterministic\n--batch_size=16\n',
    ]

    def parse(content):
        path.write_bytes(content)
        from_arguments(TrainConfig, [f'--flagfile={path}', '--workdir=run'])

    fuzz('flagfiles', contents, parse)


def test_event_files(fuzz):
    folder = fuzz.box / 'tb'
    folder.mkdir()
    path = folder / event_files.new_name()
    with path.open('wb') as file:
        events = event_files.EventFile(file, start=0)
        for step in range(4):
            events.add(step, event_files.scalar('loss', 0.5, 'words'))

    def parse(content):
        path.write_bytes(content)
        event_files.truncate_events(folder, 1)

    fuzz('event files', [path.read_bytes()], parse)


@pytest.mark.parametrize('changed', ['list_eval_partition.txt', 'list_attr_celeba.txt'])
def test_lists_of_celeba(fuzz, changed):
    folder = fuzz.box / 'faces'
    black = np.zeros([10, 218, 178, 3], np.uint8)
    faces.write_files(folder, black, [0] * 7 + [2] * 3, np.zeros([10, 40], bool))
    path = folder / changed
    config = TrainConfig(
        dataset='celeba', data_dir=str(folder), batch_size=2, validation_examples=2
    )

    def parse(content):
        path.write_bytes(content)
        data.load(config)

    fuzz(changed, [path.read_bytes()], parse)


def test_declarations_of_networks(fuzz):
    folder = fuzz.box / 'network'
    folder.mkdir()
    path = folder / declaration.FILE
    fields = dict(name='tiny', image_size=16, value_range=[0, 1], resize='tf1_bilinear', layer='x')

    def parse(content):
        path.write_bytes(content)
        declaration.read(str(folder))

    fuzz(declaration.FILE, [json.dumps(fields).encode()], parse)
