"""Installs the package, and its programs as flexae-train, flexae-evaluate and so on."""

import pathlib
import re

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).parent
REQUIREMENTS = [
    line.split('#')[0].strip()
    for line in (HERE / 'requirements.txt').read_text().splitlines()
    if line.split('#')[0].strip()
]
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'flexae_tf/__init__.py').read_text()).group(1)
PROGRAMS = sorted(path.stem for path in (HERE / 'bin').glob('*.py'))


class SourceDistribution(sdist):
    """With what this file reads."""

    def make_distribution(self) -> None:
        """As setuptools, and these."""
        self.filelist.extend(['requirements.txt', *(f'bin/{name}.py' for name in PROGRAMS)])
        super().make_distribution()


setup(
    cmdclass={'sdist': SourceDistribution},
    name='flexae_tf',
    version=VERSION,
    description='FlexAE and its rivals: generative auto-encoders in TensorFlow 2',
    license='Apache-2.0',
    python_requires='>=3.11.4',  # tarfile's filters
    packages=find_packages(include=['flexae_tf', 'flexae_tf.*']),
    package_data={
        'flexae_tf.evaluation': ['*.md', 'golden/*.json'],
        'flexae_tf.experiments': [
            '*.md',
            'RESULTS.template',
            'report.*',
            'pictures/*',
            'recorded/*.jsonl',
            'recorded/strips/*',
        ],
    },
    install_requires=REQUIREMENTS,
    extras_require={
        'gpu': ['tensorflow[and-cuda]>=2.20'],  # the plain wheel leaves a GPU unused
        'test': ['pytest>=8', 'pytest-xdist>=3', 'ruff>=0.6'],
    },
    entry_points={
        'console_scripts': [f'flexae-{name} = flexae_tf.cli:{name}' for name in PROGRAMS]
    },
)
