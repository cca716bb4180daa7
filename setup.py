"""Installs the package with its flagfiles, and its programs as flexae-train, flexae-fit, ..."""

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
CONVERTERS = ('ai-edge-litert>=2', 'onnxruntime>=1.20', 'tf2onnx>=1.17')
# flags/ of a clone becomes flexae_tf/flags of an installed package.
FLAGS = {
    '.'.join(['flexae_tf', *folder.relative_to(HERE).parts]): str(folder.relative_to(HERE))
    for folder in sorted({path.parent for path in (HERE / 'flags').rglob('*.flags')})
}


class SourceDistribution(sdist):
    """Source distribution with the files that setup.py reads."""

    def make_distribution(self) -> None:
        """Adds the files, then builds as setuptools does."""
        self.filelist.extend(['requirements.txt', *(f'bin/{name}.py' for name in PROGRAMS)])
        super().make_distribution()


setup(
    cmdclass={'sdist': SourceDistribution},
    name='flexae_tf',
    version=VERSION,
    description='FlexAE and its baselines: generative auto-encoders in TensorFlow 2',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    url='https://arxiv.org/abs/2006.05838',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: GPU :: NVIDIA CUDA',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3 :: Only',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires='>=3.11.4',  # filters of tarfile
    packages=[*find_packages(include=['flexae_tf', 'flexae_tf.*']), *FLAGS],
    package_dir=FLAGS,
    package_data={
        '': ['*.md', '*.flags'],
        'flexae_tf.evaluation': ['golden/*.json'],
        'flexae_tf.experiments': [
            'RESULTS.template',
            'report.*',
            'pictures/*',
            'recorded/*.json*',
            'recorded/strips/*',
        ],
    },
    install_requires=REQUIREMENTS,
    extras_require={
        # Sources of the Inception network. tensorflow-hub 0.16.1 imports pkg_resources.
        'hub': ['tensorflow-hub>=0.16.1', 'setuptools<82'],
        'kaggle': ['kagglehub>=0.3'],
        'gpu': ['tensorflow[and-cuda]>=2.20'],  # the plain wheel does not use a GPU
        'test': [
            *('pytest>=8', 'pytest-xdist>=3', 'ruff>=0.6', 'hypothesis>=6.100'),
            'setuptools<82',  # TF-GAN, the oracle of metrics, imports tensorflow-hub
            # Converters and runtimes of exported models; their tests are skipped without them.
            *(f'{name}; sys_platform == "linux"' for name in CONVERTERS),
        ],
    },
    entry_points={
        'console_scripts': [f'flexae-{name} = flexae_tf.cli:{name}' for name in PROGRAMS]
    },
)
