"""Standard streams that are closed, full, or in an encoding with few characters."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

START = 'import os, sys\nfrom flexae_tf import streams\nstreams.make_robust()\n'
PRINTING = START + (
    'for i in range(20_000):\n    print(i, flush=i % 100 == 0)\nopen(sys.argv[1], "w").close()\n'
)


def shell(line, code, *arguments, **environment):
    """Returns the finished process of a line for bash, in which "$@" runs some Python code."""
    command = ['bash', '-c', f'set -o pipefail; {line}', 'bash', sys.executable, '-c', code]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        timeout=60,
        cwd=ROOT,
        env=os.environ | environment,
    )


@pytest.mark.parametrize(
    ('line', 'printed', 'error'),
    [
        ('"$@" | head -n 1', b'0\n', b''),
        ('"$@" 2>&1 | head -n 1', b'0\n', b''),
        ('"$@" > /dev/full', b'', b'WARNING: standard output cannot be written; text is lost.\n'),
        ('"$@" > /dev/full 2> /dev/full', b'', b''),
        ('"$@" >&-', b'', b''),
        ('"$@" <&- >&- 2>&-', b'', b''),
    ],
)
@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_program_continues_without_its_output(tmp_path, line, printed, error, unbuffered):
    done = shell(line, PRINTING, tmp_path / 'end', PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, error)
    assert (tmp_path / 'end').exists()


def test_files_do_not_get_the_descriptors_of_closed_streams(tmp_path):
    code = START + 'file = open(sys.argv[1], "w")\nos.write(1, b"1")\nos.write(2, b"2")\n'
    done = shell('"$@" <&- >&- 2>&-', code, tmp_path / 'file')
    assert done.returncode == 0 and (tmp_path / 'file').read_bytes() == b''


def test_output_waits_for_a_pipe_that_does_not_block():
    code = START.replace('sys\n', 'sys\nos.set_blocking(1, False)\n', 1) + 'print("x" * 1_000_000)'
    done = shell('"$@" | (sleep 0.2; cat)', code)
    assert (done.returncode, done.stderr) == (0, b'') and len(done.stdout) == 1_000_001


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8', 'latin-1'])
def test_output_has_every_name(encoding):
    code = START + 'print(sys.argv[1], "→")\nprint(sys.argv[1], file=sys.stderr)\n'
    done = shell('"$@"', code, os.fsdecode(b'[\xc3\xa9\xff]'), PYTHONIOENCODING=encoding)
    name = '[é\\udcff]'.encode(encoding, 'backslashreplace')
    assert done.returncode == 0 and done.stderr == name + b'\n'
    assert done.stdout == name + ' →\n'.encode(encoding, 'backslashreplace')


def test_replaced_streams_stay(capsys):
    from flexae_tf import streams

    streams.make_robust()
    print('captured')
    assert capsys.readouterr().out == 'captured\n'
