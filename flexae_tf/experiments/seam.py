# ruff: noqa
"""TEMPORARY: find_flagfile until config.options has it."""

import contextlib
import pathlib

import flexae_tf
from flexae_tf.config import options

ROOT = pathlib.Path(flexae_tf.__file__).resolve().parents[1]


def find_flagfile(name):
    p = ROOT / 'flags' / name
    return p if p.exists() else None


def from_arguments(o, a):
    a = [f'--flagfile={ROOT}/flags/{x[11:]}' if x.startswith('--flagfile=') else x for x in a]
    with contextlib.chdir(ROOT):
        return options.from_arguments(o, a)
