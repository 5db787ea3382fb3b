"""Several processes of one run: they find each other, agree, and end together.

Each works on its own devices; `jax.distributed` connects them. What they then
share of the work is in `parallel.py`.
"""

import atexit
import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import traceback

import jax
import numpy as np

from cyclegan_jax.common import hosts, terminal
from cyclegan_jax.common.errors import Temporary, UserError

_EXPLICIT = ('coordinator', 'num-processes', 'process-id')
# May differ from machine to machine: config/identity.py compares the names of
# the pictures.
_OWN = 'data.root'


class Agreed(UserError):
  """What all processes raise together, so that none has to wait for another."""


def join(values, stops=False):
  """Joins the other processes, if the flags `flags.PROCESS_FLAGS` ask for it.

  Comes before anything that uses a device. From here on a line is printed if
  the process ends without a word.

  Args:
    values: {flag: value}.
    stops: whether SIGTERM is taken note of (`Checkpoints.preempted`), and does
      not end the process.

  Raises:
    UserError: flags that do not fit, or processes that do not meet.
  """
  where = _where(values)
  if where is None:
    return
  atexit.register(_take_back)  # runs behind what JAX registers
  not_met = (
    f'the processes did not meet within --start-timeout='
    f'{values["start-timeout"]} seconds: start all of them, at about the same '
    'time, with the same --coordinator and a number each'
  )
  _leave_last_words(not_met)
  try:
    jax.distributed.initialize(
      **where,
      initialization_timeout=values['start-timeout'],
      heartbeat_timeout_seconds=values['heartbeat-timeout'],
    )
  except (RuntimeError, ValueError) as e:  # jaxlib's and JAX's own
    reason = ' '.join(str(e).split())
    if 'should be defined' in reason:
      raise UserError(
        '--distributed=auto finds no Cloud TPU, GKE, Slurm or Open MPI here: '
        f'give {_flags(_EXPLICIT)}'
      ) from e
    raise Temporary(f'{not_met} ({reason[:200]})') from e
  if not stops:  # else JAX only takes note of it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
  _leave_last_words(_lost())
  check_same({'versions of jax': _versions(), 'code': _code()})


def _where(values):
  """Arguments of `jax.distributed.initialize`; None for a single process."""
  for name in ('start-timeout', 'heartbeat-timeout'):
    if values[name] < 1:
      raise UserError(f'--{name}={values[name]} must be at least 1')
  given = [name for name in _EXPLICIT if values[name] not in ('', -1)]
  if values['distributed'] not in ('', 'auto'):
    raise UserError(
      f"--distributed={values['distributed']!r}: the only value is 'auto'; "
      f'else give {_flags(_EXPLICIT)}'
    )
  if values['distributed'] and given:
    raise UserError(
      f'--distributed=auto finds by itself what {_flags(given)} would say: '
      'give one or the other'
    )
  if values['distributed']:
    return {}
  if not given:
    return None
  if missing := [name for name in _EXPLICIT if name not in given]:
    raise UserError(f'{_flags(given)} needs {_flags(missing)} too')
  address, count = values['coordinator'], values['num-processes']
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal():
    raise UserError(
      f'--coordinator={address} must be HOST:PORT of process 0, as '
      '10.0.0.1:1234'
    )
  if not 0 <= values['process-id'] < count:
    raise UserError(
      f'--process-id={values["process-id"]} must be from 0 to '
      f'--num-processes={count} less 1'
    )
  return {
    'coordinator_address': address,
    'num_processes': count,
    'process_id': values['process-id'],
    'cluster_detection_method': 'deactivate',
  }


def _flags(names):
  return ', '.join(f'--{name}' for name in names)


def check_same_config(config):
  """Raises `Agreed` if a config, {option: value}, differs among processes."""
  same = {key: value for key, value in config.items() if key != _OWN}
  check_same({'config': json.dumps(same, sort_keys=True)})


def check_same(texts):
  """Raises `Agreed` if one of {what: text} differs among processes."""
  if not hosts.several():
    return
  digests = np.array(
    [list(hashlib.sha256(text.encode()).digest()) for text in texts.values()],
    np.uint8,
  )
  there = hosts.from_all(digests)
  for place, what in enumerate(texts):
    others = [
      str(number)
      for number in range(len(there))
      if (there[number][place] != there[0][place]).any()
    ]
    if others:
      raise Agreed(
        f'process {", ".join(others)} has other {what} than process 0: start '
        f'all with the same (this is process {jax.process_index()})'
      )


def _versions():
  return ' '.join(map(importlib.metadata.version, ('jax', 'jaxlib', 'flax')))


def _code():
  """The contents of all files of this package."""
  folder = pathlib.Path(__file__).parents[1]
  return '\n'.join(
    f'{path.relative_to(folder)}\n{path.read_text()}'
    for path in sorted(folder.rglob('*.py'))
  )


@contextlib.contextmanager
def together():
  """What is done here fails in all processes if it fails in one.

  So none waits for another that has ended. Nothing in it may wait for the
  others.

  Raises:
    UserError: this process's own, or that another had one.
  """
  error = None
  try:
    yield
  except UserError as e:
    error = e
  failed = hosts.from_all(np.array(error is not None))
  if error and hosts.several():
    raise Agreed(str(error)) from error
  if error:
    raise error
  if failed.any():
    numbers = ', '.join(map(str, np.flatnonzero(failed)))
    raise Agreed(f'process {numbers} cannot go on: its own output says why')


_last_words = []


def _leave_last_words(text):
  """Has a line printed if this process ends without Python having a say.

  When others do not come, or one is lost, JAX ends this one from a thread of
  its own.
  """
  _take_back()
  # Waits for a word on a pipe, which closes when this process is gone.
  _last_words.append(
    subprocess.Popen(
      ['sh', '-c', 'read -r word || echo "$0" >&2', f'error: {text}'],
      stdin=subprocess.PIPE,
      start_new_session=True,
    )
  )


def _take_back():
  """Takes the last words back: this process says itself how it ends."""
  while _last_words:
    with contextlib.suppress(OSError):
      _last_words.pop().communicate(b'done\n')


def _lost():
  return (
    f'process {jax.process_index()} was killed, or lost another one (see '
    'above, and what the others say): run the same command to continue'
  )


def leave(error, code):
  """Ends one of several processes that has met an error alone.

  It does not wait for the others: they end as those of a lost process do. What
  all have met together ends as usual.

  Args:
    error: what it met.
    code: the exit code.
  """
  if hosts.several() and not isinstance(error, Agreed):
    if not isinstance(error, (UserError, KeyboardInterrupt)):
      traceback.print_exception(error)
      print(f'error: {_lost()}', file=sys.stderr)
    _take_back()
    with terminal.patient():
      sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
