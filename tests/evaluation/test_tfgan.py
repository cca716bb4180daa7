"""Facts about TF-GAN's network, and TF-GAN without its top package."""

import importlib
import sys
import types

import pytest

from flexae_tf.evaluation import tfgan
from flexae_tf.evaluation.tfgan import tfgan_eval


def test_constants_agree_with_tfgan():
    theirs = tfgan_eval()
    assert tfgan.HANDLE == tfgan.handle() == theirs.INCEPTION_TFHUB
    assert tfgan.IMAGE_SIZE == theirs.INCEPTION_DEFAULT_IMAGE_SIZE
    assert tfgan.LOGITS == theirs.INCEPTION_OUTPUT
    assert tfgan.FINAL_POOL == theirs.INCEPTION_FINAL_POOL


def test_handle_is_known_without_tfgan(monkeypatch):
    def fail():
        raise ModuleNotFoundError("No module named 'pkg_resources'")

    monkeypatch.setattr(tfgan, 'tfgan_eval', fail)
    assert tfgan.handle() == tfgan.HANDLE


def tfgan_modules():
    return {name: m for name, m in sys.modules.items() if name.startswith('tensorflow_gan')}


def pop_tfgan_modules():
    return {name: sys.modules.pop(name) for name in tfgan_modules()}


@pytest.fixture
def clean_modules():
    """Removes TF-GAN from sys.modules during a test."""
    before = pop_tfgan_modules()
    yield
    pop_tfgan_modules()
    sys.modules.update(before)


def test_tfgan_eval_has_the_interface():
    tfgan = tfgan_eval()
    assert tfgan.INCEPTION_DEFAULT_IMAGE_SIZE == 299
    assert tfgan.INCEPTION_FINAL_POOL == 'pool_3'  # the name that flags and protocols use
    assert tfgan.INCEPTION_TFHUB.startswith('https://')
    assert tfgan_eval() is tfgan


def test_tfgan_eval_leaves_later_imports_unchanged(clean_modules):
    def outcome():
        pop_tfgan_modules()
        try:
            importlib.import_module('tensorflow_gan')
            error = None
        except Exception as caught:
            error = repr(caught)
        return error, set(tfgan_modules())

    expected = outcome()
    pop_tfgan_modules()
    tfgan_eval.__wrapped__()
    assert not tfgan_modules()
    assert outcome() == expected


def test_tfgan_eval_keeps_imported_modules(clean_modules):
    theirs = {name: types.ModuleType(name) for name in ('tensorflow_gan', 'tensorflow_gan.python')}
    sys.modules.update(theirs)
    assert tfgan_eval.__wrapped__().INCEPTION_DEFAULT_IMAGE_SIZE == 299
    assert tfgan_modules() == theirs


def test_tfgan_eval_cleans_up_after_failure(clean_modules, monkeypatch):
    def fail(name):
        assert 'tensorflow_gan.python' in sys.modules
        raise ImportError('broken')

    monkeypatch.setattr(importlib, 'import_module', fail)
    with pytest.raises(ImportError, match='broken'):
        tfgan_eval.__wrapped__()
    assert not tfgan_modules()


def test_tfgan_eval_without_tfgan(clean_modules, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ModuleNotFoundError, match='pip install tensorflow-gan'):
        tfgan_eval.__wrapped__()
    assert not tfgan_modules()
