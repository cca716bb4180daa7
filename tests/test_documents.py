"""Documents: commands parse, links and paths exist, Python runs, examples of EXTENDING.md work."""

import ast
import dataclasses
import json
import re
import shlex
import sys

import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import cli, config, data
from flexae_tf.config.options import Options
from flexae_tf.errors import UsageError
from tests.conftest import ROOT

README = ROOT / 'README.md'
EXTENDING = ROOT / 'flexae_tf/EXTENDING.md'
RESULTS = ROOT / 'flexae_tf/experiments/RESULTS.md'
DOCUMENTS = [README, *sorted((ROOT / 'flexae_tf').rglob('*.md'))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
FLAGFILES = sorted((ROOT / 'flags').rglob('*.flags'))
OTHER_FLAGS = {
    'tf_xla_persistent_cache_directory',
    'create',
    'logdir',
    'samples_per_plugin',
    'help',
    'flagfile',
    'soak',
}  # of tensorboard, absl, bin/test, curl
CONFIGS = [
    value
    for value in vars(config).values()
    if dataclasses.is_dataclass(value) and value is not Options
]
SMOKE = {  # makes the programs of EXTENDING.md short
    'train': ['--training_steps=2', '--batch_size=8', '--sample_every_steps=2', '--critic_steps=1'],
    'evaluate': ['--num_examples=50'],
    'export': [],
    'reproduce': ['--dry_run'],
}
README_SECTIONS = [
    'Results at a glance',
    'Requirements',
    'Quickstart',
    'Train',
    'Methods',
    'Data sets',
    'Sample and export',
    'Evaluate',
    'Reproduce',
    'Python API',
    'Code layout',
    'Citation',
]


def code_blocks(text, language=''):
    """Returns the contents of the fenced code blocks of a language."""
    blocks = re.findall(r'^```(\w*)\n(.*?)^```$', text, re.S | re.M)
    return [block for name, block in blocks if name == language]


def commands(text):
    """Returns [program, *flags] of every command of this package in the code blocks of a text."""
    found = []
    for block in code_blocks(text):
        for line in block.replace('\\\n', ' ').splitlines():
            line = re.sub(r'^(\$ |[A-Z_]+=\S* )+', '', line)
            if not line.startswith(('python ', 'flexae-')):
                continue
            words = shlex.split(line, comments=True)
            if words[0] == 'python':
                program = re.fullmatch(r'bin/(\w+)\.py', words[1])
                if program:
                    found.append([program.group(1), *words[2:]])
                elif words[1:3] == ['-m', 'flexae_tf.cli']:
                    found.append(words[3:])
            else:
                found.append([words[0].removeprefix('flexae-'), *words[1:]])
    return found


def anchor(heading):
    """Returns the anchor that GitHub gives a heading."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def prose(text):
    """Returns a document without its code blocks."""
    return re.sub(r'^```.*?^```$', '', text, flags=re.S | re.M)


def headings(text, level='#+'):
    """Returns the headings of a document."""
    return re.findall(rf'^{level} (.*)$', prose(text), re.M)


@pytest.mark.parametrize('path', DOCUMENTS, ids=NAMES)
def test_document_commands_parse(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for program, *flags in commands(path.read_text()):
        if '--help' not in flags and not (path == EXTENDING and program in SMOKE):
            cli.parse(program, flags)


@pytest.mark.parametrize('path', DOCUMENTS, ids=NAMES)
def test_document_names_existing_flags(path):
    text = re.sub(r'^(?:#SBATCH|srun) .*', '', path.read_text(), flags=re.M)  # flags of Slurm
    defined = set(re.findall(r'^    (\w+): .* = option\(', text, re.M))  # examples of new flags
    known = {field.name for options in CONFIGS for field in dataclasses.fields(options)}
    assert not set(re.findall(r'--([a-z][a-z_]+)', text)) - known - defined - OTHER_FLAGS


@pytest.mark.parametrize('path', DOCUMENTS, ids=NAMES)
def test_document_links_and_paths_exist(path):
    text = path.read_text()
    for target in re.findall(r'\]\(([^)]+)\)', prose(text)):
        if not target.startswith('https://'):
            file, _, fragment = target.partition('#')
            linked = (path.parent / file).resolve() if file else path
            assert linked.exists(), target
            if fragment:
                assert fragment in map(anchor, headings(linked.read_text())), target
    for name in re.findall(r'(?<![\w/.])(?:flexae_tf|flags|bin|tests)/[\w/]+(?:\.\w+)?', text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize('path', DOCUMENTS, ids=NAMES)
def test_document_longer_than_a_screen_has_contents(path):
    text = path.read_text()
    sections = headings(text, '##')
    if len(text.splitlines()) > 60:
        assert not [name for name in sections if f'](#{anchor(name)})' not in text]


@pytest.mark.parametrize('path', DOCUMENTS, ids=NAMES)
def test_document_python_has_valid_syntax(path):
    for block in code_blocks(path.read_text(), 'python'):
        ast.parse(block)


@pytest.mark.parametrize('path', FLAGFILES, ids=lambda path: path.stem)
def test_flagfile_parses_and_starts_with_a_comment(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert path.read_text().startswith('# ')
    cli.parse('train', [f'--flagfile={path.relative_to(ROOT)}'])


def test_readme_is_short_and_in_order():
    text = README.read_text()
    assert len(text.splitlines()) <= 250
    assert re.findall(r'^## (.*)$', text, re.M) == README_SECTIONS


def test_readme_links_every_document():
    text = README.read_text()
    assert not [name for name in NAMES[1:] if f']({name}' not in text]


def test_readme_names_every_artifact():
    rows = README.read_text().split('| `--artifact` |')[1].split('\n\n')[0].splitlines()
    named = {name for row in rows for name in re.findall(r'`(\w+)`', row.split('|')[1])}
    # Figs. 7 to 11 are between `fig6` and `fig12`.
    assert named | {f'fig{number}' for number in range(7, 12)} == set(config.reproduce.ARTIFACTS)


def test_readme_results_are_in_the_generated_results():
    text = README.read_text()
    section = text[text.index('## Results at a glance') : text.index('## Requirements')]
    rows = ' '.join(line for line in section.splitlines() if line.startswith('| '))
    numbers = re.findall(r'\d+\.\d\d+', rows)
    results = RESULTS.read_text()
    assert len(numbers) > 10
    assert not [number for number in numbers if number not in results]


def test_readme_outcomes_are_outcomes_of_the_generated_results():
    text = README.read_text()
    section = text[text.index('## Results at a glance') : text.index('## Requirements')]
    rows = [line.strip('| ').split(' | ') for line in section.splitlines() if ', full size' in line]
    rows += [line.strip('| ').split(' | ') for line in section.splitlines() if ', small' in line]
    assert len(rows) >= 7
    for experiment, *_, outcome in rows:
        name = experiment.partition(',')[0]
        (part,) = re.findall(
            rf'^## {re.escape(name)}: .*?(?=^## |\Z)', RESULTS.read_text(), re.M | re.S
        )
        assert outcome in re.findall(r'\| ([a-z ]+) \|$', part, re.M), experiment


def test_readme_api_trains_samples_and_exports(tmp_path, monkeypatch, here, short_networks):
    here('train', '--flagfile=flags/smoke.flags', f'--workdir={tmp_path}/run')
    code = next(b for b in code_blocks(README.read_text(), 'python') if 'Trainer' in b)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 12
    for old, new in [
        ('width_multiplier=0.125', 'latent_dim=32, critic_steps=1'),
        ('training_steps=300', 'training_steps=2'),
        ('runs/quickstart', f'{tmp_path}/run'),
    ]:
        assert old in code
        code = code.replace(old, new)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names['images'].shape == (16, 28, 28, 1) and names['codes'].shape == (16, 32)
    assert (tmp_path / 'exported' / 'saved_model.pb').exists()
    code = next(b for b in code_blocks(README.read_text(), 'python') if 'signatures' in b)
    # In a tf.function, which fails if the snippet does not keep the loaded object.
    *setup, call = code.replace('runs/mnist/export/000130000', 'exported').strip().splitlines()
    exec('\n'.join(setup), names)
    expression = call.removeprefix('images = ')
    exec(f'@tf.function\ndef sample():\n    return {expression}\nimages = sample()', names)
    assert names['images'].shape == (16, 28, 28, 1)


def test_readme_metrics_return_floats():
    code = next(b for b in code_blocks(README.read_text(), 'python') if 'frechet' in b)
    rng = np.random.default_rng(0)
    names = dict(real=rng.normal(size=[60, 3]), fake=rng.normal(size=[60, 3]))
    exec(code, names)
    for name in ('distance', 'kid', 'precision', 'recall', 'density', 'coverage'):
        assert isinstance(names[name], float)


@pytest.mark.parametrize('name', ['quickstart', 'test'])
def test_shell_programs_are_executable(name):
    assert (ROOT / 'bin' / name).stat().st_mode & 0o111


@pytest.fixture
def extending(tmp_path, monkeypatch, here, short_networks):
    """`extending(section)`: writes the modules of EXTENDING.md and runs a section's programs."""
    text = EXTENDING.read_text()
    for block in code_blocks(text, 'python'):
        name = re.match(r'# (\w+\.py)\n', block)
        if name:
            (tmp_path / name.group(1)).write_text(block)
            monkeypatch.delitem(sys.modules, name.group(1).removesuffix('.py'), raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    def run(section, **training):
        body = text[text.index(f'\n## {section}\n') :].split('\n## ')[1]
        for program, *flags in commands(body):
            flags = [flag.replace('=runs/', f'={tmp_path}/') for flag in flags]
            more = [f'--{k}={v}' for k, v in training.items()] if program == 'train' else []
            here(program, *flags, *SMOKE[program], *more)
        return tmp_path

    return run


def score_stems(workdir):
    """Returns the stems of the scores of a run."""
    lines = (workdir / 'scores.jsonl').read_text().splitlines()
    return {json.loads(line).get('stem') for line in lines}


def test_extending_examples_have_at_most_40_lines():
    blocks = code_blocks(EXTENDING.read_text(), 'python')
    assert len(blocks) >= 4
    assert not [block for block in blocks if len(block.splitlines()) > 40]


def test_extending_method_trains_resumes_and_is_scored_exported_and_planned(extending, capsys):
    extending('Method')
    folder = extending('Method', training_steps=4)
    assert 'fd' in score_stems(folder / 'wae_mmd')
    assert len(list((folder / 'wae_mmd/export').glob('*/saved_model.pb'))) == 2
    stats = (folder / 'wae_mmd/stats.jsonl').read_text()
    assert 'loss/mmd' in stats
    assert 'my_methods:WaeMmd' in capsys.readouterr().out


def test_extending_flag_is_an_option_of_the_run(extending):
    folder = extending('Flag')
    assert json.loads((folder / 'weighted/config.json').read_text())['config']['mmd_weight'] == 10.0
    with pytest.raises(UsageError, match='mmd_weight'):
        extending('Flag', mmd_weight=20.0)


def test_extending_data_set_and_metric_give_scores(extending):
    folder = extending('Data set')
    assert score_stems(folder / 'moons') >= {'fd'}
    extending('Metric')
    assert score_stems(folder / 'moons') >= {'fd', 'energy_distance'}


def test_extending_npz_has_the_splits_of_the_folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / 'IMAGES').mkdir()
    for i in range(20):
        image = rng.integers(0, 256, [70, 66, 3], np.uint8)
        (tmp_path / f'IMAGES/{i:02}.png').write_bytes(tf.io.encode_png(image).numpy())
    monkeypatch.chdir(tmp_path)
    exec(next(b for b in code_blocks(EXTENDING.read_text(), 'python') if 'savez' in b), {})
    options = dict(dataset='folder', batch_size=2)
    folder = data.load(config.TrainConfig(data_dir='IMAGES', image_size=64, **options))
    npz = data.load(config.TrainConfig(data_dir='images.npz', **options))
    for split in ('train', 'validation', 'test'):
        np.testing.assert_array_equal(getattr(folder, split).x, getattr(npz, split).x)
