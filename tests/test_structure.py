"""Structure of the repository: room order, import cycles, TensorFlow-free modules, language."""

import ast
import functools
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / 'flexae_tf'

# From the ground up: a file imports only from its own room and from the rooms before it.
ROOMS = [
    ['errors'],
    ['files', 'foreign_files', 'shutdown'],
    ['checked_files'],
    ['environment', 'streams'],
    ['noise'],
    ['losses'],
    ['image_grid'],
    ['config'],
    ['data'],
    ['networks'],
    ['priors'],
    ['methods'],
    ['metrics'],
    ['training'],
    ['densities'],
    ['evaluation'],
    ['export', 'sample', 'doctor', 'benchmark'],
    ['experiments'],
    ['cli'],
]
RANKS = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}

TOP_LEVEL = {
    'flexae_tf',
    'flags',
    'bin',
    'tests',
    'requirements.txt',
    'setup.py',
    'README.md',
    'LICENSE',
    '.gitignore',
    '.ci',
    '.ruff.toml',
}

TENSORFLOW_FREE = [
    'cli',
    'config',
    'data.catalog',
    'densities',
    'evaluation.compare',
    'evaluation.score_log',
    'experiments.jobs',
    'experiments.plans',
    'experiments.results',
    'experiments.runner',
    'image_grid',
    'methods.resolve',
    'methods.table',
    'metrics.protocol',
    'shutdown',
    'training.workdir',
]

FORBIDDEN_WORDS = re.compile(
    r"""\b(?:mend(?:s|ed)? | aloud | whoever | whosoever | nobody | anew | alike | blots? | heard
    | told | alone | rivals? | damaged | pictures?(?![/']) | those\ of | that\ of )\b""",
    re.IGNORECASE | re.VERBOSE,
)
FRONTED_OF = re.compile(r'(?:^|[.:;] )Of [a-z][^.;:]*, ')
FORBIDDEN_OPENERS = ('What', 'Who', 'Whose', 'How', 'Whether', 'Where')


def module_name(path):
    """Returns the dotted name of a file relative to the package, '' for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


@functools.cache
def trees():
    """Returns the syntax tree of every module of the package by dotted name."""
    return {module_name(p): ast.parse(p.read_text()) for p in sorted(PACKAGE.rglob('*.py'))}


@functools.cache
def import_graph():
    """Returns the modules that every module imports, imports inside functions included."""
    graph = {}
    for name, tree in trees().items():
        graph[name] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[name] |= {
                    resolve(alias.name) for alias in node.names if in_package(alias.name)
                }
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f'{name}: relative import'
                if in_package(node.module):
                    graph[name] |= {resolve(f'{node.module}.{a.name}') for a in node.names}
        graph[name] -= {name, ''}
    del graph['']  # its attributes are resolved on first use
    return graph


def in_package(dotted):
    """Returns whether a dotted name is the package or lies inside it."""
    return dotted.split('.')[0] == 'flexae_tf'


def resolve(dotted):
    """Returns the module that `from a import b` reads: `a.b` if that is a module, else `a`."""
    name = dotted.removeprefix('flexae_tf').removeprefix('.')
    while name not in trees():
        name = name.rpartition('.')[0]
    return name


def cycles(graph):
    """Returns the strongly connected components that have more than one module."""

    def reachable(start):
        seen, stack = set(), [start]
        while stack:
            for other in graph[stack.pop()] - seen:
                seen.add(other)
                stack.append(other)
        return seen

    reach = {name: reachable(name) for name in graph}
    found = {
        frozenset(b for b in graph if a in reach[b] and b in reach[a])
        for a in graph
        if a in reach[a]
    }
    return sorted(sorted(component) for component in found)


def test_modules_belong_to_a_room():
    rooms = {name.split('.')[0] for name in trees()} - {''}
    assert rooms <= set(RANKS)


def test_imports_follow_the_order_of_rooms():
    upward = [
        f'{name} -> {other}'
        for name, imported in import_graph().items()
        for other in sorted(imported)
        if RANKS[other.split('.')[0]] > RANKS[name.split('.')[0]]
    ]
    assert not upward


def test_imports_have_no_cycles():
    assert not cycles(import_graph())


def test_imports_do_not_depend_on_type_checking():
    files = [
        str(p.relative_to(ROOT)) for p in PACKAGE.rglob('*.py') if 'TYPE_CHECKING' in p.read_text()
    ]
    assert not files


def test_private_names_stay_in_their_module():
    private = [
        f'{name}: {alias.name}'
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and in_package(node.module or '')
        for alias in node.names
        if alias.name.startswith('_')
    ]
    assert not private


def test_module_names_state_a_responsibility():
    vague = re.compile(r'(^|_)(utils?|helpers?|common|misc)(_|$)')
    assert not [n for n in trees() if any(vague.search(part) for part in n.split('.'))]


def test_top_level_is_fixed():
    if not (ROOT / '.git').exists():
        pytest.skip('needs a git checkout')
    tracked = subprocess.run(
        ['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {path.split('/')[0] for path in tracked} <= TOP_LEVEL


def lines_of(*rooms):
    """Returns the number of lines of the Python files of some rooms."""
    paths = [p for room in rooms for p in [PACKAGE / f'{room}.py', *(PACKAGE / room).rglob('*.py')]]
    return sum(len(p.read_text().splitlines()) for p in paths if p.exists())


def test_experiments_are_smaller_than_the_science():
    assert lines_of('experiments') <= lines_of('methods', 'losses', 'networks')


def test_modules_do_not_import_tensorflow():
    code = """
import importlib, sys
sys.modules['tensorflow'] = sys.modules['keras'] = None
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
"""
    modules = [f'flexae_tf.{name}' for name in TENSORFLOW_FREE]
    done = subprocess.run(
        [sys.executable, '-c', code, *modules], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


def prose_files():
    """Returns every file of the tree that holds prose, except this list of forbidden words."""
    tops = [ROOT / name for name in sorted(TOP_LEVEL) if name not in ('LICENSE', '.ruff.toml')]
    files = [f for top in tops for f in (top.rglob('*') if top.is_dir() else [top])]
    text = ('.py', '.md', '.flags', '.txt', '.html', '.css', '')
    return sorted(
        f
        for f in files
        if f.is_file()
        and f.suffix in text
        and '__pycache__' not in f.parts
        and f.resolve() != (ROOT / 'tests/test_structure.py')
    )


def language_faults(path):
    """Returns the forbidden words and openers of a file, in the order of their kinds."""
    text = path.read_text()
    flowing = re.sub(r'\s*\n\s*(?:#\s*|>\s*|[\'"]\s*)?', ' ', text)
    faults = [match.group() for match in FORBIDDEN_WORDS.finditer(flowing)]
    if path.suffix == '.py':
        for node in ast.walk(ast.parse(text)):
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            docstring = ast.get_docstring(node) if isinstance(node, kinds) else None
            if docstring:
                if docstring.split()[0].rstrip(',:') in FORBIDDEN_OPENERS:
                    faults.append(docstring.splitlines()[0])
                faults += FRONTED_OF.findall(' '.join(docstring.split()))
    elif path.suffix == '.md':
        faults += [m for line in text.splitlines() for m in FRONTED_OF.findall(line)]
    return faults


def test_names_of_tests_start_with_a_unit():
    function_words = 'the|an?|its?|what|who|whose|how|whether|where|nothing|there|they|those|of'
    sentence = re.compile(rf'^ *def test_(?:{function_words})_.*', re.M)
    assert not [n for p in (ROOT / 'tests').rglob('*.py') for n in sentence.findall(p.read_text())]


def test_language_is_plain():
    faults = {os.fspath(p.relative_to(ROOT)): language_faults(p) for p in prose_files()}
    assert not {name: found for name, found in faults.items() if found}
