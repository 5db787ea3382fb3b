"""Tests of output whose reader closes it, and of terminals that end."""

import io
import os
import signal
import subprocess
import sys

import pytest

from cyclegan_jax.common import hosts, terminal
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.paper import jobs
from cyclegan_jax.training import stopping

# Programs that print many lines; the training program saves at its end.
LINES = """
import sys
from cyclegan_jax.common import terminal
from cyclegan_jax.config import program
def main(argv):
  how, count = argv[1], 0
  if how == 'trains':
    with terminal.patient():
      while not terminal.lost():
        print('line', count)
        count += 1
    print('saved', file=sys.stderr)
    return 0
  for number in range(100000):
    print('line', number, file=getattr(sys, how))
sys.exit(program.run(main))
"""


def start(*words, **pipes):
  return subprocess.Popen(
    [sys.executable, '-c', LINES, *words], **{'stderr': subprocess.PIPE} | pipes
  )


def head(stream):
  """Reads a line and closes the stream, like `head -1`."""
  assert stream.readline() == b'line 0\n'
  stream.close()


@pytest.mark.parametrize('how,err', [('stdout', b''), ('trains', b'saved\n')])
def test_a_closed_output_ends_a_program_silently(how, err):
  with start(how, stdout=subprocess.PIPE) as process:
    head(process.stdout)
    assert process.stderr.read() == err
    assert process.wait(60) == 141


def test_a_closed_error_output_does_not_stop_a_program():
  with start('stderr', stdout=subprocess.PIPE) as process:
    head(process.stderr)
    assert process.stdout.read() == b''
    assert process.wait(60) == 0


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_a_full_disk_behind_the_output_is_one_line():
  with open('/dev/full', 'wb') as full, start('stdout', stdout=full) as process:
    err = process.stderr.read().decode()
    assert process.wait(60) == 2
  assert err.startswith('error: cannot write to standard output, No space')
  assert len(err.splitlines()) == 1


def test_closed_descriptors_are_not_reused_for_files(tmp_path):
  """Messages of libraries must not go to a file that is opened later."""
  code = """
import os, sys
from cyclegan_jax.config import program
def main(argv):
  file = open(argv[1], 'wb', buffering=0)
  os.write(2, b'a library complains')
  print('a line'); print('another', file=sys.stderr)
  file.write(str(file.fileno()).encode())
sys.exit(program.run(main))
"""
  path = tmp_path / 'file'
  command = [sys.executable, '-c', code, str(path)]
  shell = ['sh', '-c', 'exec "$0" "$@" <&- >&- 2>&-', *command]
  assert subprocess.run(shell, check=False).returncode == 0
  assert path.read_text().isdigit() and int(path.read_text()) > 2


def test_help_ends_silently_if_its_output_is_closed():
  command = [sys.executable, '-m', 'cyclegan_jax.export', '--help']
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
  ) as process:
    process.stdout.close()
    assert process.stderr.read() == b''
    assert process.wait(60) == 0


class Gone(io.StringIO):
  """A stream whose reader has closed it."""

  def __init__(self, error):
    super().__init__()
    self.error = error

  def write(self, text):
    raise self.error


def output(error, patient=False):
  return terminal.Output(Gone(error), patient)


def test_a_closed_terminal_does_not_stop_a_program():
  """A run is stopped by SIGHUP; after `disown` it must continue."""
  stream = output(OSError(5, 'Input/output error'))
  assert stream.write('x') == 1 and stream.lost is None
  stream.complain()


def test_output_after_a_closed_pipe_is_dropped():
  stream = output(BrokenPipeError(32, 'Broken pipe'))
  with pytest.raises(terminal.Closed):
    stream.write('x')
  stream.write('y')
  stream.flush()
  with pytest.raises(UserError, match='standard output, No space'):
    output(OSError(28, 'No space left on device')).write('x')


def lose_reader(monkeypatch):
  stream = output(BrokenPipeError(32, 'Broken pipe'), patient=True)
  stream.write('x')
  monkeypatch.setattr(sys, 'stdout', stream)


def test_training_treats_a_closed_output_like_a_signal(monkeypatch):
  lose_reader(monkeypatch)
  with stopping.StopSignals() as stop:
    assert stop.told(lambda: False) == signal.SIGPIPE
  told = []
  monkeypatch.setattr(hosts, 'several', lambda: True)
  monkeypatch.setattr(signal, 'raise_signal', told.append)
  with stopping.StopSignals() as stop:  # all processes stop at the same step
    assert stop.told(lambda: False) is None
    assert stop.told(lambda: True) == signal.SIGPIPE
  assert told == [signal.SIGTERM]


def test_experiments_treat_a_closed_output_like_a_signal(monkeypatch):
  lose_reader(monkeypatch)
  outcome = jobs.run([], [({}, [])], {}, print)
  assert outcome.code() == 141


@pytest.fixture
def hangup():
  """Restores the handler of SIGHUP; the default would end the tests."""
  before = signal.signal(signal.SIGHUP, lambda *args: None)
  yield
  signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize('kind', [stopping.StopSignals, jobs._Signals])
def test_sighup_is_a_signal_to_stop(kind, hangup):
  with kind() as stop:
    signal.raise_signal(signal.SIGHUP)
    assert stop.number == signal.SIGHUP


@pytest.mark.parametrize('kind', [stopping.StopSignals, jobs._Signals])
def test_nohup_is_respected(kind, hangup):
  signal.signal(signal.SIGHUP, signal.SIG_IGN)
  with kind() as stop:
    signal.raise_signal(signal.SIGHUP)
    assert stop.number is None


def test_sighup_is_forwarded_to_all_processes(hangup, monkeypatch):
  told, true = [], signal.raise_signal
  monkeypatch.setattr(hosts, 'several', lambda: True)
  with stopping.StopSignals() as stop:
    monkeypatch.setattr(signal, 'raise_signal', told.append)
    true(signal.SIGHUP)
    assert told == [signal.SIGTERM]
    assert stop.told(lambda: True) == signal.SIGHUP


def test_a_program_restores_the_standard_streams():
  before = sys.stdout, sys.stderr
  assert program.run(lambda argv: 0, []) == 0
  with pytest.raises(RuntimeError):
    program.run(lambda argv: error(), [])
  assert (sys.stdout, sys.stderr) == before


def error():
  raise RuntimeError
