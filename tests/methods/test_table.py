"""Tests of the table of methods."""

import dataclasses
import subprocess
import sys

import pytest

from flexae_tf.config import TrainConfig
from flexae_tf.densities import DENSITIES
from flexae_tf.errors import UsageError
from flexae_tf.methods import AUTOENCODERS, METHODS, MethodSpec, config_class, find
from flexae_tf.methods.base import Method
from tests.conftest import ROOT

OUTSIDE = """
from flexae_tf.methods.table import MethodSpec

class NoSpec: pass
class NoConfig:
    method_spec = MethodSpec()
    config_class = dict
class NoMethod:
    method_spec = MethodSpec(title='A title')
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / 'table_outside.py').write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop('table_outside', None)


@pytest.mark.parametrize('name', METHODS)
def test_row_is_consistent(name):
    row = METHODS[name]
    assert row.name == name and row.title and issubclass(row.load_class(), Method)
    assert row.prior in row.load_class().priors
    assert row.density is None or row.density in DENSITIES
    assert row.posterior in ('deterministic', 'gaussian', 'flow')
    options = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
    assert all(options[option] is None for option in row.required_options)
    assert set(row.optional_options) <= set(options) - set(row.required_options)
    assert row.trains_on_codes == (name not in AUTOENCODERS)
    if row.fitted_from:
        method, density = row.fitted_from
        assert (METHODS[method].class_path, row.density) == (row.class_path, density)
    assert find(name) is row and config_class(name) is TrainConfig


def test_titles_are_unique():
    assert len({row.title for row in METHODS.values()}) == len(METHODS)


def test_methods_are_imported_without_tensorflow():
    code = 'import sys, flexae_tf.methods; print("tensorflow" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ['False'], done.stderr


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('wae', '--method=wae: unknown method. Choose one of flexae, .*, or give package.module'),
        ('./module.py:Class', '--method=./module.py:Class: cannot be imported'),
        ('no_such_module:Class', '--method=no_such_module:Class: cannot be imported'),
        ('table_outside:Nothing', '--method=table_outside:Nothing: cannot be imported'),
        ('table_outside:NoSpec', '--method=table_outside:NoSpec: no method. Set its class attr'),
        ('table_outside:NoConfig', '--method=table_outside:NoConfig: config_class is .*dict'),
    ],
)
def test_find_refuses_what_is_no_method(name, message, outside):
    with pytest.raises(UsageError, match=message) as error:
        config_class(name)
    assert '\n' not in str(error.value)


def test_find_imports_a_row_from_outside(outside):
    name = 'table_outside:NoMethod'
    assert find(name) == MethodSpec(name=name, class_path=name, title='A title')
    assert config_class(name) is TrainConfig
