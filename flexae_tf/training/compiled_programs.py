"""XLA's compiled programs, kept in the workdir between the starts of a training.

TensorFlow reads and writes programs in one folder, in place: a kill while it writes would end the
next start with a traceback. So it gets a temporary folder. Complete copies with checksums go from
the workdir to it and back.
"""

import hashlib
import os
import pathlib
import platform
import re
import shutil
import tempfile
from importlib import metadata

from flexae_tf import shutdown
from flexae_tf.checked_files import check_manifest, write_manifest
from flexae_tf.config import ResolvedConfig
from flexae_tf.data import DatasetSpec
from flexae_tf.errors import CorruptRunError

_FLAG = '--tf_xla_persistent_cache_directory='  # TensorFlow reads it when it is imported
_PREFIX = 'flexae_tf-programs-'
# Programs run only on the kind of machine that they were compiled on, and TensorFlow compares
# neither the GPU nor its driver. Other lines, such as interrupts, differ between starts.
_MACHINE = {
    'proc/driver/nvidia/version': re.compile('.*'),
    'proc/driver/nvidia/gpus/*/information': re.compile(r'^Model:.*', re.MULTILINE),
    'proc/cpuinfo': re.compile(r'^(?:model name|flags)\s*:.*', re.MULTILINE),
}


def prepare(config: ResolvedConfig, _: DatasetSpec) -> None:
    """Gives XLA a folder with the kept programs of this machine, before TensorFlow is imported.

    Corrupt programs are left out with a message; they are then compiled again. If `TF_XLA_FLAGS`
    already names a folder, that one is used and nothing is kept.
    """
    if not _wanted(config) or _FLAG in os.environ.get('TF_XLA_FLAGS', ''):
        return
    folder, kept = tempfile.mkdtemp(prefix=_PREFIX), _kept(config.workdir)
    shutdown.remove_at_exit(folder)
    if kept.exists():
        try:
            check_manifest(kept)
            shutil.copytree(kept, folder, dirs_exist_ok=True)
        except (CorruptRunError, OSError) as error:
            print(f'compiled programs are not used: {error}', flush=True)
            shutil.rmtree(kept, ignore_errors=True)  # so that `keep` replaces them
    flags = os.environ.get('TF_XLA_FLAGS', '').split()
    os.environ['TF_XLA_FLAGS'] = ' '.join([*flags, f'{_FLAG}{folder}'])


def keep(config: ResolvedConfig) -> None:
    """Copies the programs that were compiled since `prepare` to the workdir."""
    given = [f for f in os.environ.get('TF_XLA_FLAGS', '').split() if f.startswith(_FLAG)]
    folder = pathlib.Path(given[-1].removeprefix(_FLAG)) if given else None
    if not _wanted(config) or folder is None or not folder.name.startswith(_PREFIX):
        return
    kept = _kept(config.workdir)
    programs = [path for path in folder.iterdir() if path.suffix == '.pb']
    if all((kept / path.name).exists() for path in programs):
        return
    copy = kept.with_name(f'.{kept.name}')
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        write_manifest(copy)
        shutil.rmtree(kept, ignore_errors=True)
        copy.rename(kept)
    except OSError as error:
        print(f'WARNING: {kept}: compiled programs are not kept ({error.strerror})', flush=True)


def _wanted(config: ResolvedConfig) -> bool:
    return bool(config.keep_compiled and config.workdir and not config.dry_run)


def _kept(workdir: str) -> pathlib.Path:
    """Returns the folder of the programs for this machine and this TensorFlow."""
    described = [metadata.version('tensorflow'), platform.machine()]
    for pattern, lines in _MACHINE.items():
        texts = (path.read_text() for path in pathlib.Path('/').glob(pattern))
        described += sorted({line for text in texts for line in lines.findall(text)})
    digest = hashlib.sha256('\n'.join(described).encode()).hexdigest()[:12]
    return pathlib.Path(workdir) / 'compiled' / digest
