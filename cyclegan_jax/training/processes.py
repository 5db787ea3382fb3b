"""Start, agreement and common end of the several processes of a run.

`jax.distributed` connects the processes, and each uses its own devices.
`parallel.py` divides the work of a step among the devices.
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
# May differ between hosts. config/identity.py compares the names of the
# pictures instead.
_OWN = 'data.root'


class Agreed(UserError):
  """A `UserError` that all processes of a run raise at the same point.

  The processes have agreed on the error, so that none waits for another.
  """


def join(values, stops=False):
  """Connects this process to the other processes of a run, if flags ask for it.

  Must be called before any use of a device. If JAX later ends this process
  because another process was lost, JAX itself prints no message; a helper
  process started here then prints an error message.

  Args:
    values: {flag: value} of all `flags.PROCESS_FLAGS`.
    stops: whether the caller handles SIGTERM through `Checkpoints.preempted`.
      Otherwise SIGTERM ends the process.

  Raises:
    UserError: the flags are invalid or contradict each other.
    Temporary: the processes did not connect within --start-timeout seconds.
    Agreed: the processes have different code or versions of JAX; all processes
      raise this error.
  """
  where = _where(values)
  if where is None:
    return
  atexit.register(_take_back)  # runs after the functions that JAX registers
  not_met = (
    f'the processes did not meet within --start-timeout='
    f'{values["start-timeout"]} seconds: start all of them at about the same '
    'time, with the same --coordinator and a different --process-id each'
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
        '--distributed=auto: found no Cloud TPU, GKE, Slurm or Open MPI: '
        f'give {_flags(_EXPLICIT)}'
      ) from e
    raise Temporary(f'{not_met} ({reason[:200]})') from e
  if not stops:  # JAX only records the signal by default
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
  _leave_last_words(_lost())
  check_same({'versions of jax': _versions(), 'code': _code()})


def _where(values):
  """Returns the arguments of `jax.distributed.initialize`, or None.

  None stands for a run of a single process.

  Raises:
    UserError: the flags are invalid or contradict each other.
  """
  for name in ('start-timeout', 'heartbeat-timeout'):
    if values[name] < 1:
      raise UserError(f'--{name}={values[name]}: must be at least 1')
  given = [name for name in _EXPLICIT if values[name] not in ('', -1)]
  if values['distributed'] not in ('', 'auto'):
    raise UserError(
      f"--distributed={values['distributed']!r}: use 'auto', "
      f'or give {_flags(_EXPLICIT)} instead'
    )
  if values['distributed'] and given:
    raise UserError(
      f'--distributed=auto cannot be combined with {_flags(given)}, which '
      'it finds out by itself: give one or the other'
    )
  if values['distributed']:
    return {}
  if not given:
    return None
  if missing := [name for name in _EXPLICIT if name not in given]:
    raise UserError(f'{_flags(given)}: also give {_flags(missing)}')
  address, count = values['coordinator'], values['num-processes']
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal():
    raise UserError(
      f'--coordinator={address}: must be HOST:PORT of process 0, for example '
      '10.0.0.1:1234'
    )
  if not 0 <= values['process-id'] < count:
    raise UserError(
      f'--process-id={values["process-id"]}: must be at least 0 and less than '
      f'--num-processes={count}'
    )
  return {
    'coordinator_address': address,
    'num_processes': count,
    'process_id': values['process-id'],
    'cluster_detection_method': 'deactivate',
  }


def _flags(names):
  """Returns flags as text, for example '--coordinator, --process-id'."""
  return ', '.join(f'--{name}' for name in names)


def check_same_config(config):
  """Checks that all processes have the same config; data.root may differ.

  Args:
    config: {option: value} of this process.

  Raises:
    Agreed: the configs differ. All processes raise it.
  """
  same = {key: value for key, value in config.items() if key != _OWN}
  check_same({'config': json.dumps(same, sort_keys=True)})


def check_same(texts):
  """Checks that texts are the same in all processes.

  Args:
    texts: {what the text is, for the error message: text of this process}.

  Raises:
    Agreed: a text differs. All processes raise it.
  """
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
        f'process {", ".join(others)} has other {what} than process 0: use '
        f'the same in all processes (this is process {jax.process_index()})'
      )


def _versions():
  """Returns the versions of JAX, jaxlib and Flax, as text."""
  return ' '.join(map(importlib.metadata.version, ('jax', 'jaxlib', 'flax')))


def _code():
  """Returns the paths and contents of all .py files of this package."""
  folder = pathlib.Path(__file__).parents[1]
  return '\n'.join(
    f'{path.relative_to(folder)}\n{path.read_text()}'
    for path in sorted(folder.rglob('*.py'))
  )


@contextlib.contextmanager
def together():
  """Context manager that raises in all processes if its block fails in one.

  Without it, the other processes would wait for the failed one. The block must
  not wait for other processes itself. Only a `UserError` counts as a failure.

  Raises:
    Agreed: the block failed in this process or in another one.
    UserError: the block failed, in a run of a single process.
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
    raise Agreed(
      f'process {numbers} cannot continue: see the output of that process'
    )


_last_words = []


def _leave_last_words(text):
  """Starts a helper process that prints an error if this process is ended.

  JAX ends this process from a thread of its own if other processes do not
  connect or are lost, and Python code does not run then.

  Args:
    text: the error message. It replaces that of an earlier call.
  """
  _take_back()
  # The shell waits for a word on a pipe, which closes when this process ends.
  _last_words.append(
    subprocess.Popen(
      ['sh', '-c', 'read -r word || echo "$0" >&2', f'error: {text}'],
      stdin=subprocess.PIPE,
      start_new_session=True,
    )
  )


def _take_back():
  """Ends the helper process of `_leave_last_words` without a message."""
  while _last_words:
    with contextlib.suppress(OSError):
      _last_words.pop().communicate(b'done\n')


def _lost():
  """Returns the message for a process that was killed or lost another one."""
  return (
    f'process {jax.process_index()} was killed, or lost another process '
    '(see above, and the output of the other processes): run the same command '
    'to continue'
  )


def leave(error, code):
  """Ends this process at once if an error occurred in this process alone.

  The exit does not wait for the other processes. They end when JAX notices that
  this process is lost. In a run of a single process, and for an `Agreed` error,
  the function returns without effect.

  Args:
    error: the exception that this process met.
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
