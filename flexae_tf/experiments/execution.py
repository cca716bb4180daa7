"""Executes runs: one subprocess for each command, so that a failed one takes nothing with it."""

import contextlib
import pathlib
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

from flexae_tf.errors import FailedRunError, Interrupted, UserError
from flexae_tf.experiments import runs
from flexae_tf.files import lock
from flexae_tf.training.shutdown import GracefulShutdown

POLL_SECONDS = 1.0


def execute(todo: Sequence[runs.Run]) -> dict[str, str]:
    """Trains and scores whatever is not finished, one after the other.

    Another process may execute runs of the same folder: each run is taken by one of them, and what
    others have is waited for at the end.

    Returns:
        of the runs that failed, name -> reason.

    Raises:
        Interrupted: SIGTERM or Ctrl-C; the running command is stopped, too.
    """
    failures: dict[str, str] = {}
    waiting, told = list(todo), set()
    with _Relay() as relay:
        while waiting:
            held = []
            for run in waiting:
                try:
                    if not _attempt(run, relay, f'[{todo.index(run) + 1}/{len(todo)}]'):
                        held.append(run)
                except Interrupted:
                    raise
                except (UserError, OSError) as error:
                    failures[run.name] = str(error)
                    print(f'FAILED {run.name}: {error}', flush=True)
            if held == waiting:
                for run in set(held) - told:
                    print(f'waiting for another process that has {run.name}', flush=True)
                told |= set(held)
                time.sleep(POLL_SECONDS)
                relay.check('while waiting for another process')
            waiting = held
    return failures


def _attempt(run: runs.Run, relay: '_Relay', label: str) -> bool:
    """Executes what is missing of a run; False when another process has the run."""
    run.check()
    if not run.missing():
        print(f'{label} {run.name}: finished before', flush=True)
        return True
    with _locked(run.workdir.path) as lock:
        if lock is None:
            return False
        for command in run.missing():
            print(f'{label} {command}', flush=True)
            _call(run, command, relay, label, lock)
        if run.missing():
            raise FailedRunError(
                f'its programs ended well and left no score, or no checkpoint of step '
                f'{run.config.training_steps}: look into {run.workdir.path}'
            )
    return True


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[int | None]:
    """The descriptor of the lock of a run; None when another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.reproduce.lock', 'w') as file:
        try:
            lock(file)
        except BlockingIOError:
            yield None
            return
        yield file.fileno()


def _call(run: runs.Run, command: runs.Command, relay: '_Relay', label: str, lock: int) -> None:
    relay.check(f'before {run.name}')
    run.begin(command)
    started, output = time.monotonic(), []
    process = subprocess.Popen(
        command.argv(),
        cwd=runs.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        # It holds the lock as well: were we killed, nobody could take the run before it has ended.
        pass_fds=(lock,),
        process_group=0,  # a terminal's Ctrl-C would reach it beside our relay: twice ends at once
    )
    with process, relay.to(process):
        for line in process.stdout:
            output.append(line.rstrip())
            print(f'{label} {output[-1]}', flush=True)
    code = process.returncode
    run.end(command, seconds=time.monotonic() - started, exit_code=code)
    relay.check(f'in {run.name}')
    if code:
        raise FailedRunError(_reason(command, code, output))


def _reason(command: runs.Command, code: int, output: list[str]) -> str:
    """Why a command failed: its own error line, or whatever came last."""
    if code < 0:
        hint = ' (is there too little memory?)' if code == -9 else ''
        return f'{command.program}.py was killed by signal {-code}{hint}'
    errors = [line for line in output if line.startswith(f'{command.program}.py: error: ')]
    said = [line for line in output if line.strip()]
    return (errors or said or [f'{command.program}.py ended with exit code {code}'])[-1]


class _Relay(GracefulShutdown):
    """Passes signals on to the process that is running."""

    _process: subprocess.Popen | None = None
    _passed_on = False

    @contextlib.contextmanager
    def to(self, process: subprocess.Popen) -> Iterator[None]:
        """While active, signals are passed on to `process`; as is one heard while it started."""
        self._process = process
        if self.requested is not None and not self._passed_on:
            process.send_signal(self.requested)
        try:
            yield
        finally:
            self._process = None

    def check(self, when: str) -> None:
        """Raises `Interrupted` when a signal was heard."""
        if self.requested is not None:
            raise Interrupted(self.requested, when)

    def _hear(self, number: int, _: Any) -> None:
        self.requested = self.requested or number
        if self._process:
            self._passed_on = True
            self._process.send_signal(number)
