"""Programs: start, help, one-line errors, exit codes, and installation from a wheel."""

import errno
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from flexae_tf import cli
from flexae_tf.config import TrainConfig
from flexae_tf.environment import quiet_start
from flexae_tf.errors import UsageError
from tests.conftest import ROOT
from tests.methods.building import build

SMALL = ['--dataset=synthetic_2d', '--batch_size=16', '--training_steps=4', '--critic_steps=1']


def python(code, *flags, **options):
    """Returns the finished process of some Python code, started in the clone."""
    command = [sys.executable, '-c', code, *flags]
    return subprocess.run(
        command, **{'capture_output': True, 'text': True, 'cwd': ROOT, 'timeout': 300} | options
    )


class TestRefusals:
    """Flags that a program refuses before it imports TensorFlow."""

    @pytest.mark.parametrize(
        ('name', 'flags', 'words'),
        [
            ('train', '--method=flexea', ['--method=flexea', 'Choose one of flexae']),
            ('train', '--dataset=mnits', ['--dataset=mnits', 'mnist']),
            ('train', '--batch_size=20000', ['--batch_size=20000', '15000']),
            ('train', '--image_size=32', ['--image_size=32', 'folder']),
            ('train', '--dataset=folder', ['--data_dir']),
            ('train', '--network=mnist', ['--network=mnist', 'vectors']),
            (
                'train',
                '--flagfile=datasets/mnist.flags --network=synthetic',
                ['synthetic', 'images'],
            ),
            ('train', '--method=vae --divergence=mmd', ['--divergence=mmd', 'vae', 'flexae']),
            ('train', '--method=wae_gmm_prior', ['--mixture: missing', 'wae_gmm_prior.flags']),
            (
                'train',
                '--method=wae_gmm_prior --mixture=data --latent_dim=3',
                ['--latent_dim=3', '--mixture=circle'],
            ),
            ('train', '--flagfile=nowhere.flags', ['nowhere.flags']),
            ('evaluate', '--workdir=x --metrics=fd,fid', ['--metrics=fid: unknown']),
            ('evaluate', '--workdir=x --density=mixture', ['--density=mixture', 'none']),
            ('sample', '--source=x --output_file=x.png --density=gmm', ['--density=gmm']),
            ('fit', '--workdir=x --density=gmm', ['--density=gmm']),
            ('reproduce', '--artifact=fig2 --output_dir=x --methods=vea', ['vea: unknown method']),
            ('reproduce', '--artifact=fig2 --output_dir=x --dataset=mnits', ['--dataset=mnits']),
        ],
    )
    def test_program_refuses_flags(self, refused_here, tmp_path, name, flags, words):
        flags = flags.split()
        if name == 'train':
            flags = ['--dataset=synthetic_2d', f'--workdir={tmp_path}/run', *flags]
        refused_here(2, words, name, *flags)
        assert not (tmp_path / 'run').exists()

    @pytest.mark.parametrize(
        ('name', 'flags', 'words'),
        [
            ('train', SMALL, ['--workdir: needed']),
            ('evaluate', [], ['--workdir: needed']),
            ('fit', ['--density=gaussian_mixture'], ['--workdir: needed']),
            ('sample', ['--output_file=x.png'], ['--source: needed']),
            ('sample', ['--source=x'], ['--output_file: needed']),
            ('compare', ['--output_file=x.md'], ['RUN: needed']),
            ('export', ['--wrkdir=x'], ['--wrkdir: unknown flag', '--workdir']),
            ('reproduce', ['--output_dir=x'], ['--artifact: needed']),
            ('benchmark', ['--iterations=0'], ['--iterations=0', '--subject=methods']),
            ('doctor', ['--device=nonsense'], ['--device=nonsense', 'auto, gpu, cpu']),
        ],
    )
    def test_program_refuses_flags_before_tensorflow(self, refused, quick, name, flags, words):
        with quick():
            refused(2, words, name, *flags)

    def test_train_checks_its_request_without_tensorflow(self):
        code = (
            'import sys, flexae_tf\n'
            'from flexae_tf.training import workdir\n'
            'config = flexae_tf.TrainConfig(dataset="mnist", workdir="nowhere")\n'
            'config, spec = workdir.check_request(config)\n'
            'print("tensorflow" in sys.modules, config.latent_dim)\n'
        )
        done = python(code)
        assert done.stdout.split() == ['False', '32'], done.stderr

    def test_train_refuses_an_unwritable_workdir(self, refused_here, tmp_path):
        (tmp_path / 'file').write_text('')
        flags = [*SMALL, f'--workdir={tmp_path}/file/x']
        refused_here(2, [f'{tmp_path}/file/x', '--workdir'], 'train', *flags)

    def test_train_refuses_a_missing_gpu(self, refused_here, tmp_path):
        flags = [*SMALL, f'--workdir={tmp_path}/run', '--device=gpu']
        refused_here(2, ['--device=gpu', '.[gpu]', '--device=cpu'], 'train', *flags)
        assert not (tmp_path / 'run').exists()

    def test_train_refuses_missing_data(self, refused, tmp_path):
        flags = ['--dataset=mnist', f'--data_dir={tmp_path}', f'--workdir={tmp_path}/run']
        refused(3, ['mnist', str(tmp_path), '--download'], 'train', *flags)
        assert not (tmp_path / 'run').exists()

    def test_train_refuses_corrupt_images(self, refused_here, tmp_path):
        run = f'--workdir={tmp_path}/run'
        empty, corrupt = tmp_path / 'empty', tmp_path / 'corrupt'
        empty.mkdir()
        corrupt.mkdir()
        rng = np.random.RandomState(0)
        for i in range(4):
            pixels = tf.constant(rng.randint(0, 256, [20, 20, 3]), tf.uint8)
            (corrupt / f'{i}.png').write_bytes(tf.io.encode_png(pixels).numpy())
        (corrupt / '2.png').write_bytes(b'not an image')
        (tmp_path / 'torn.npz').write_bytes(b'PK\x03\x04 torn')
        flags = ['--dataset=folder', '--image_size=16', '--batch_size=2', run]
        refused_here(3, ['empty'], 'train', *flags, f'--data_dir={empty}')
        refused_here(3, ['2.png'], 'train', *flags, f'--data_dir={corrupt}')
        refused_here(
            3, ['torn.npz'], 'train', '--dataset=folder', run, f'--data_dir={tmp_path}/torn.npz'
        )
        assert [path.name for path in (tmp_path / 'run').iterdir()] == ['bad_images.txt']

    def test_build_method_refuses_another_setup_of_keras(self, synthetic):
        keras.config.set_image_data_format('channels_first')
        try:
            with pytest.raises(UsageError, match='Keras: set to tensorflow, channels_first'):
                build(TrainConfig(dataset='synthetic_2d'), synthetic.spec)
        finally:
            keras.config.set_image_data_format('channels_last')


class TestTrain:
    """Reports of the training program."""

    def test_train_skips_a_corrupt_newest_checkpoint(self, here, refused_here, capsys, tmp_path):
        flags = [
            *SMALL,
            f'--workdir={tmp_path}/run',
            '--save_every_steps=2',
            '--snapshot_every_steps=0',
        ]
        here('train', *flags)
        checkpoints = tmp_path / 'run' / 'checkpoints'
        next(checkpoints.glob('ckpt-000000004.data*')).write_bytes(b'corrupt')
        here('train', *flags)
        printed = capsys.readouterr().out
        assert re.search(r'step 4.* corrupt', printed) and 'resuming at step 2' in printed
        for path in checkpoints.glob('ckpt-*.data*'):
            path.write_bytes(b'corrupt')
        refused_here(4, ['checkpoint'], 'train', *flags)
        assert len(list(checkpoints.glob('ckpt-*.data*'))) == 2  # nothing was removed

    def test_train_dry_run_prints_plan_and_missing_files(
        self, here, refused_here, capsys, tmp_path, short_networks
    ):
        small = ['--width_multiplier=0.05', '--batch_size=8', '--critic_steps=1', '--dry_run']
        here('train', *small, '--dataset=digits', f'--workdir={tmp_path}/run')
        printed = capsys.readouterr().out
        for words in ('--latent_dim=4', 'encoder', 'TFLOP', 'memory', 'disk', 'nothing is missing'):
            assert words in printed
        flags = [*small, '--dataset=mnist', f'--data_dir={tmp_path}']
        refused_here(3, ['mnist', '--download'], 'train', *flags)
        assert not (tmp_path / 'run').exists()


class TestPaths:
    """Programs in folders whose names are patterns, not UTF-8, or have special characters."""

    def test_programs_take_names_literally(
        self, here, capsys, monkeypatch, tmp_path, short_networks
    ):
        sys.stdout.reconfigure(errors='backslashreplace')  # as `streams` does in a program
        name = os.fsdecode(b'[a-c]*?\\{b} \'"$x \xff')
        monkeypatch.setenv('SCRATCH', f'{tmp_path}/{name}')
        scratch = pathlib.Path(os.environ['SCRATCH'])
        images, run = scratch / 'images', scratch / 'run'
        images.mkdir(parents=True)
        rng = np.random.RandomState(0)
        for i in range(60):
            pixels = tf.constant(rng.randint(0, 256, [28, 28, 1]), tf.uint8)
            (images / f'{scratch.name[:-1]}{i}.png').write_bytes(tf.io.encode_png(pixels).numpy())
        flags = ['--dataset=folder', '--image_size=28', '--data_dir=$SCRATCH/images', *SMALL[1:]]
        here('train', *flags, '--workdir=$SCRATCH/run')
        flagfile = '--flagfile=$SCRATCH/run/flags.txt'
        here('train', flagfile, '--training_steps=5')
        assert 'resuming at step 4' in capsys.readouterr().out
        here('fit', '--workdir=$SCRATCH/run', '--density=gaussian_mixture')
        pixels = ['--features=pixels', '--metrics=fd', '--sets=samples', '--num_examples=20']
        here('evaluate', '--workdir=$SCRATCH/run', *pixels, '--output_file=$SCRATCH/s.jsonl')
        here('evaluate', '--real=$SCRATCH/images', '--fake=$SCRATCH/images', *pixels[:2])
        here('export', '--workdir=$SCRATCH/run', '--export_dir=$SCRATCH/[export]')
        for source in ('run', '[export]'):
            output = f'--output_file=$SCRATCH/{source}.png'
            here('sample', f'--source=$SCRATCH/{source}', '--num_samples=4', output)
        names = {'images', 'run', '[export]', 's.jsonl', 'run.png', '[export].png'}
        assert {path.name for path in scratch.iterdir()} == names
        assert run.stat() and len(list(tmp_path.iterdir())) == 1


class TestStart:
    """Help, import of TensorFlow, and the end of a program."""

    @pytest.mark.parametrize('name', cli.PROGRAMS)
    def test_help_lists_flags_and_names(self, capsys, name):
        cli.run(name, ['--help'])
        printed = ' '.join(capsys.readouterr().out.split())
        for words in (f'python bin/{name}.py', '--flagfile:'):
            assert words in printed
        for words in ('--device:', '<auto|gpu|cpu>'):
            assert (words in printed) == (name != 'compare')
        for flag, words in {
            '--method:': 'flexae, wae_normal',
            '--dataset:': 'digits, mnist',
            '--metrics:': 'fd, kid, prd',
            '--density:': 'gaussian_mixture, second_stage, latent_gan',
        }.items():
            assert (flag in printed) == (words in printed) or flag == '--method:'

    @pytest.mark.parametrize('name', cli.PROGRAMS)
    def test_programs_are_installed_under_their_names(self, monkeypatch, capsys, name):
        """setup.py makes `flexae-NAME = flexae_tf.cli:NAME` of every bin/NAME.py."""
        assert sorted(cli.PROGRAMS) == sorted(path.stem for path in (ROOT / 'bin').glob('*.py'))
        monkeypatch.setattr(sys, 'argv', [f'flexae-{name}', '--device=nonsense'])
        monkeypatch.setattr(signal, 'signal', lambda *_: None)
        with pytest.raises(SystemExit) as error:
            getattr(cli, name)()
        assert error.value.code == 2
        assert capsys.readouterr().err.startswith(f'{name}: error: --')

    def test_module_runs_a_program(self):
        command = [sys.executable, '-m', 'flexae_tf.cli']
        for flags, words in ((['trian'], 'trian: unknown program'), (['export'], '--workdir')):
            done = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=ROOT)
            assert done.returncode == 2 and done.stderr.count('\n') == 1 and words in done.stderr

    @pytest.mark.parametrize('device', ['CPU', 'GPU'])
    def test_full_device_ends_in_one_line_and_keras_uses_tensorflow(self, device):
        code = (
            'import os\n'
            'from flexae_tf import cli, doctor\n'
            'class ResourceExhaustedError(Exception): pass  # name of the class in TensorFlow\n'
            'def main(_):\n'
            '    print(os.environ["KERAS_BACKEND"], flush=True)\n'
            f'    raise ResourceExhaustedError("OOM on {device}:0 [Op:Mul]\\nlines")\n'
            'doctor.doctor = main\n'
            'cli.run("doctor", [])\n'
        ).replace(
            'cli, doctor',
            'cli; cli.load("environment:import_tensorflow")(); from flexae_tf import doctor',
        )
        done = python(code, env=os.environ | {'KERAS_BACKEND': 'jax'})
        assert (done.returncode, done.stdout) == (2, 'tensorflow\n')
        assert done.stderr.count('\n') == 1
        assert f'is full (OOM on {device}:0). Free space on it' in done.stderr
        assert ('use --device=cpu' in done.stderr) == (device == 'GPU')

    @pytest.mark.parametrize('name', cli.PROGRAMS)
    @pytest.mark.parametrize('flag', ['--help', '--device=cpu'])
    def test_windows_is_refused_in_one_line(self, name, flag):
        code = (
            'import sys; sys.modules["fcntl"] = None\n' + f'from flexae_tf import cli; cli.{name}()'
        )
        done = python(code, flag)
        line = f'{name}: error: flexae_tf: supports Linux and macOS; on Windows use WSL2.\n'
        assert (done.returncode, done.stdout, done.stderr) == (2, '', line)

    @pytest.mark.parametrize(
        ('error', 'words'),
        [
            (OSError(errno.ENAMETOOLONG, 'File name too long', 'aaa'), 'aaa: File name too long.'),
            (PermissionError(errno.EACCES, 'Permission denied', 'x'), 'x: Permission denied.'),
            (OSError(errno.ENOSPC, 'No space left on device'), 'disk: No space left on device.'),
        ],
    )
    def test_error_of_a_file_ends_in_one_line(self, monkeypatch, capsys, error, words):
        def fail(*_):
            raise error

        monkeypatch.setattr(cli, 'call', fail)
        monkeypatch.setattr(signal, 'signal', lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            cli.run('doctor', [])
        line = capsys.readouterr().err
        assert ended.value.code == 3 and line.count('\n') == 1
        assert line.startswith(f'doctor: error: {words} Choose another path')

    @pytest.mark.parametrize('name', cli.PROGRAMS)
    def test_interrupt_of_a_script_waits_for_the_program(self, name):
        code = (
            'import os, pathlib, runpy, signal, sys\n'
            'resolve, sys.argv = pathlib.Path.resolve, sys.argv[1:]\n'
            'def stop(path):\n'
            '    os.kill(os.getpid(), signal.SIGINT)\n'
            '    return resolve(path)\n'
            'pathlib.Path.resolve = stop  # before the import of the package\n'
            'runpy.run_path(sys.argv[0], run_name="__main__")\n'
        )
        done = python(code, f'bin/{name}.py')
        assert done.returncode == 130 and done.stderr.count('\n') == 1
        assert done.stderr.startswith(f'{name}: error: stopped by signal 2 ')

    @pytest.mark.parametrize('point', ['import', 'main'])
    def test_interrupt_ends_in_one_line(self, point, tmp_path):
        """Ctrl-C while TensorFlow is imported, and in a program that does not poll."""
        stall = 'import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)'
        if point == 'import':
            (tmp_path / 'tensorflow.py').write_text(f'try:\n    {stall}\nexcept: pass\n')
            code = 'from flexae_tf import cli; cli.doctor()'
        else:
            (tmp_path / 'stalling.py').write_text(f'def main(_):\n    {stall}\n')
            code = (
                'import sys, stalling; from flexae_tf import cli, shutdown\n'
                'shutdown.PATIENCE = 0.1\n'
                'sys.modules["flexae_tf.stalling"] = stalling\n'
                'row = cli.PROGRAMS["doctor"]._replace(main="stalling:main", '
                'needs_tensorflow=False)\n'
                'cli.PROGRAMS["doctor"] = row; cli.doctor()\n'
            )
        done = python(code, env=os.environ | {'PYTHONPATH': f'{tmp_path}:{ROOT}'})
        assert done.returncode == 130
        assert done.stderr.count('\n') == 1
        assert done.stderr.startswith('doctor: error: stopped by signal 2 ')


class TestQuietStart:
    """Standard error holds no lines of TensorFlow's start, and every other line."""

    def test_program_prints_nothing_of_the_start(self, program):
        done = program('doctor', '--inception_path=missing')
        assert done.returncode == 3
        assert done.stderr.count('\n') == 1 and 'missing' in done.stderr, done.stderr

    def test_png_prints_nothing_of_the_start(self):
        code = (
            'import numpy as np; from flexae_tf import image_grid\n'
            'image_grid.to_png(np.zeros([2, 2, 1], np.uint8))'
        )
        done = python(code)
        assert (done.returncode, done.stderr) == (0, '')

    def test_start_is_quick(self):
        code = (
            'import sys\n'
            'from flexae_tf.environment import import_tensorflow\n'
            'import_tensorflow()\n'
            'print(*{"matplotlib", "sklearn"} & sys.modules.keys())\n'
            'import matplotlib, sklearn'
        )
        done = python(code)
        assert (done.returncode, done.stdout) == (0, '\n')

    def test_quiet_start_keeps_other_lines(self, capfd):
        with quiet_start():
            os.write(2, b'I0000 00:00:1 7 port.cc:153] oneDNN custom operations are on.\n')
            os.write(2, b'E0000 00:00:1 7 cuda_platform.cc:52] failed call to cuInit: INTERNAL: ')
            os.write(2, b'CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)\n')
            os.write(2, b'E0000 00:00:1 7 cuda_platform.cc:52] failed call to cuInit: INTERNAL: ')
            os.write(2, b'CUDA error: Failed call to cuInit: CUDA_ERROR_NOT_INITIALIZED\n')
            os.write(2, b'W0000 00:00:1 7 warning\n')
        os.write(2, b'I0000 afterwards\n')
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 3 and lines[0].endswith('CUDA_ERROR_NOT_INITIALIZED')
        assert lines[1:] == ['W0000 00:00:1 7 warning', 'I0000 afterwards']

    def test_quiet_start_keeps_the_last_line_of_an_abort(self):
        code = (
            'import os\n'
            'from flexae_tf.environment import quiet_start\n'
            'with quiet_start():\n'
            '    os.write(2, b"F0000 no AVX\\n"); os.abort()\n'
        )
        done = python(code)
        assert (done.returncode, done.stderr) == (-signal.SIGABRT, 'F0000 no AVX\n')

    def test_quiet_start_does_not_delay_the_last_line_of_a_program(self):
        code = (
            'from flexae_tf import environment, errors, shutdown\n'
            "environment._FILTER = ''  # passes nothing on\n"
            'with environment.quiet_start():\n'
            "    shutdown.leave('train', errors.Interrupted(15, 'at its start'))\n"
        )
        done = python(code)
        assert done.returncode == 143
        assert done.stderr.startswith('train: error: stopped by signal 15 at its start')


def test_wheel_runs_outside_the_clone(tmp_path):
    source, target, work = (tmp_path / name for name in ('source', 'target', 'work'))
    work.mkdir()
    for name in ('flexae_tf', 'flags', 'bin'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'requirements.txt', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    subprocess.run(
        [*pip, '--no-build-isolation', f'--target={target}', source], check=True, timeout=300
    )
    tracked = {
        str(path.relative_to(source))
        for folder in ('flexae_tf', 'flags')
        for path in (source / folder).rglob('*')
        if path.is_file()
    }
    installed = {str(path.relative_to(target)) for path in target.rglob('*') if path.is_file()}
    assert {n if n.startswith('flexae_tf') else f'flexae_tf/{n}' for n in tracked} <= installed
    (entry_points,) = target.glob('*.dist-info/entry_points.txt')
    for name in cli.PROGRAMS:
        assert f'flexae-{name} = flexae_tf.cli:{name}\n' in entry_points.read_text()
    done = subprocess.run(
        [sys.executable, '-m', 'flexae_tf.cli', 'train', '--flagfile=smoke.flags', '--workdir=run'],
        cwd=work,
        env=os.environ | {'PYTHONPATH': str(target)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert (work / 'run' / 'config.json').exists()
