"""Contenders: processes that do a step each in turn, timed and compared.

Every contender has a process of its own, so that memory is counted apart and
one that fails leaves the others alone. They are set up one after the other and
wait idle unless asked for a step: only ever one of them works, and slow hours
of the machine fall on all alike.
"""

import contextlib
import multiprocessing
import pathlib
import signal
import sys
import time
from typing import NamedTuple

import options

from cyclegan_jax.common.errors import UserError

_SPAWN = multiprocessing.get_context('spawn')


class Timing(NamedTuple):
  """One step.

  Attributes:
    seconds: until its results were there.
    dispatch: seconds until the call returned.
    peak: most bytes of memory the process held since its first step, or None
      where the system doesn't say.
  """

  seconds: float
  dispatch: float
  peak: int | None


class Contender:
  """A process that gets ready, then does a step whenever asked.

  Attributes:
    name: what the table calls it.
    failure: why it can't go on, or None.
    first: seconds of the first step, compilation included.
    facts: what its setup told.
    timings: a `Timing` for each step asked for.
  """

  def __init__(self, name, setup, *args):
    """Starts the process and waits until it is ready.

    Args:
      name: what the table calls it.
      setup: args -> (start, wait, facts); `start` starts a step, `wait` waits
        for its results, facts is a dict. Runs in the process.
      *args: plain values for `setup`.

    Raises:
      UserError: the setup raised one.
    """
    self.name = name
    self.failure = None
    self.timings = []
    self._connection, theirs = _SPAWN.Pipe()
    self._process = _SPAWN.Process(
      target=_serve, args=(theirs, setup, args), daemon=True
    )
    self._process.start()
    theirs.close()
    self.first, self.facts = self._answer() or (None, {})

  def step(self):
    """Has it do a step, unless it has failed; the second of two is timed.

    A process that was idle has lost its caches and, on a virtual machine, the
    memory it had freed: a loss that steps in a row do not have.
    """
    if not self.failure and self._answer('step'):
      timing = self._answer('step')
      self.timings += [timing] if timing else []

  def close(self):
    """Ends the process."""
    self._connection.close()  # which an idle process takes as the end
    self._process.join(5)
    self._process.terminate()

  def _answer(self, request=None):
    """What the process sends, on a request if any; None if it failed."""
    try:
      if request:
        self._connection.send(request)
      answer = self._connection.recv()
    except (EOFError, ConnectionError):
      self._process.join()
      answer = RuntimeError(f'process ended ({self._process.exitcode})')
    if isinstance(answer, UserError):
      raise answer
    if isinstance(answer, Exception):
      self.failure = str(answer)
      return None
    return answer


def _serve(connection, setup, args):
  """A contender's process, from start to end."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # ends with its parent
  try:
    start, wait, facts = setup(*args)
    first = _timed(start, wait)
    peak = _peak if _forget_peak() else lambda: None
    _timed(start, wait)
    connection.send((first.seconds, facts))
    while connection.recv():
      connection.send(_timed(start, wait, peak))
  except (EOFError, ConnectionError):
    pass  # the parent has closed it
  except UserError as e:
    connection.send(UserError(str(e)))
  except Exception as e:  # whatever a contender raises is its result
    words = f'{type(e).__name__}: {e}'.split()
    connection.send(RuntimeError(' '.join(words)[:200]))


def _timed(start, wait, peak=lambda: None):
  begin = time.perf_counter()
  start()
  returned = time.perf_counter()
  wait()
  done = time.perf_counter()
  return Timing(done - begin, returned - begin, peak())


def _peak():
  """Most memory this process held since `_forget_peak`, in bytes."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith('VmHWM'):
      return int(line.split()[1]) * 1024
  return None


def _forget_peak():
  """Has `_peak` leave out what compiling took; False if the system can't."""
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/clear_refs').write_text('5')
    return True
  return False


def race(args, work, ours, theirs):
  """Times this project, in turn with PyTorch if the flags ask for it.

  Args:
    args: flags from `options.parse`.
    work: the `options.Work` they ask for.
    ours: the setup of this project, given `args`; see `Contender`.
    theirs: the setup of PyTorch, given `work` and a variant.

  Returns:
    The contenders, this project first. Their processes have ended.

  Raises:
    UserError: a setup raised one, or PyTorch would meet an accelerator.
  """
  entries = [('cyclegan_jax', ours, args)]
  if args.vs:
    entries += [
      (f'torch {name}', theirs, work, options.VARIANTS[name])
      for name in args.variants
    ]
  contenders = []
  try:
    for name, *entry in entries:
      print(f'preparing {name}', file=sys.stderr)
      contenders.append(Contender(name, *entry))
      device = contenders[0].facts.get('platform', 'cpu')
      if len(entries) > 1 and device != 'cpu':
        raise UserError(
          f'PyTorch runs on the CPU here, but JAX on {device}: set '
          f'JAX_PLATFORMS=cpu, or leave out --vs=torch'
        )
    for _ in range(args.steps):
      for contender in contenders:
        contender.step()
  finally:
    for contender in contenders:
      contender.close()
  return contenders
