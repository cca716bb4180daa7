"""XLA's compiled programs between starts; tests/soak has a training that uses them."""

import os
import pathlib

import pytest

from flexae_tf.training import compiled_programs


@pytest.fixture
def request_(config, tmp_path, monkeypatch):
    """`request_(keep_compiled=True)`: options of a training in one folder."""
    monkeypatch.setenv('TF_XLA_FLAGS', '--tf_xla_auto_jit=0')

    def make(**options):
        return config(workdir=str(tmp_path / 'run'), **dict(keep_compiled=True) | options)

    return make


def folder():
    flags = os.environ['TF_XLA_FLAGS'].split()
    assert flags[0] == '--tf_xla_auto_jit=0'
    return pathlib.Path(flags[-1].partition('=')[2]) if len(flags) > 1 else None


def start(config, monkeypatch):
    """Prepares a new process; returns the folder of XLA."""
    monkeypatch.setenv('TF_XLA_FLAGS', '--tf_xla_auto_jit=0')
    compiled_programs.prepare(config, None)
    return folder()


def test_programs_are_kept_and_given_to_the_next_start(request_, monkeypatch, capsys):
    first = start(request_(), monkeypatch)
    assert list(first.iterdir()) == []
    compiled_programs.keep(request_())  # nothing was compiled
    (first / 'a.pb').write_bytes(b'program')
    compiled_programs.keep(request_())
    second = start(request_(), monkeypatch)
    assert second != first and (second / 'a.pb').read_bytes() == b'program'
    (second / 'b.pb').write_bytes(b'other')
    compiled_programs.keep(request_())
    third = start(request_(), monkeypatch)
    assert {path.name for path in third.glob('*.pb')} == {'a.pb', 'b.pb'}
    assert capsys.readouterr().out == ''


def test_corrupt_programs_are_not_used_and_replaced(request_, monkeypatch, capsys, tmp_path):
    (start(request_(), monkeypatch) / 'a.pb').write_bytes(b'program')
    compiled_programs.keep(request_())
    (kept,) = (tmp_path / 'run' / 'compiled').iterdir()
    (kept / 'a.pb').write_bytes(b'prog')
    second = start(request_(), monkeypatch)
    assert list(second.glob('*.pb')) == []
    assert 'compiled programs are not used: ' in capsys.readouterr().out
    (second / 'a.pb').write_bytes(b'program')  # the same program has the same name
    compiled_programs.keep(request_())
    assert (start(request_(), monkeypatch) / 'a.pb').read_bytes() == b'program'


def test_programs_of_another_machine_are_not_used(request_, monkeypatch):
    (start(request_(), monkeypatch) / 'a.pb').write_bytes(b'program')
    compiled_programs.keep(request_())
    monkeypatch.setattr(compiled_programs.platform, 'machine', lambda: 'other')
    assert list(start(request_(), monkeypatch).iterdir()) == []


@pytest.mark.parametrize('options', [dict(keep_compiled=False), dict(dry_run=True)])
def test_programs_are_not_kept_unless_wanted(request_, monkeypatch, options):
    assert start(request_(**options), monkeypatch) is None


def test_programs_in_a_folder_of_the_user_are_left_alone(request_, monkeypatch, tmp_path):
    flag = f'--tf_xla_auto_jit=0 --tf_xla_persistent_cache_directory={tmp_path}'
    monkeypatch.setenv('TF_XLA_FLAGS', flag)
    compiled_programs.prepare(request_(), None)
    (tmp_path / 'a.pb').write_bytes(b'program')
    compiled_programs.keep(request_())
    assert os.environ['TF_XLA_FLAGS'] == flag and not (tmp_path / 'run').exists()
