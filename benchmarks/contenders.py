"""Contenders: implementations that are timed in turn, in separate processes.

Each contender has its own process, so that its memory is measured separately
and its failure does not affect the other contenders. Contenders are set up one
after the other and take turns: only one of them computes at a time, and a
slower phase of the machine affects all of them.
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
  """Timing of one step.

  Attributes:
    seconds: seconds until the results of the step were computed.
    dispatch: seconds until the call that starts the step returned.
    peak: peak memory of the process since its first step, in bytes, or None if
      the system cannot measure it.
  """

  seconds: float
  dispatch: float
  peak: int | None


class Contender:
  """A process that is set up once and then computes steps on request.

  Each call of `step` appends a `Timing`; `close` ends the process.

  Attributes:
    name: name in the table.
    failure: error message if the process failed, or None.
    first: seconds of the first step, compilation included; None if the setup
      failed.
    facts: dict of facts that the setup returned.
    timings: list with the `Timing` of each successful call of `step`.
  """

  def __init__(self, name, setup, *args):
    """Starts the process and waits until it is ready.

    Args:
      name: name in the table.
      setup: function that is called in the process as setup(*args) and returns
        (start, wait, facts): start() starts a step, wait() waits for its
        results, and `facts` is a dict.
      *args: arguments of `setup`, which must be picklable.

    Raises:
      UserError: `setup` raised a `UserError`.
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
    """Computes two steps and appends the `Timing` of the second to `timings`.

    The first step warms up the process: an idle process has lost its caches
    and, on a virtual machine, its freed memory, unlike a process that computes
    step after step. A contender that has failed is skipped.
    """
    if not self.failure and self._answer('step'):
      timing = self._answer('step')
      self.timings += [timing] if timing else []

  def close(self):
    """Ends the process."""
    self._connection.close()  # an idle process ends on this
    self._process.join(5)
    self._process.terminate()

  def _answer(self, request=None):
    """Sends a request, if given, and returns the answer of the process.

    Returns None, and sets `failure`, if the process failed.

    Raises:
      UserError: the process raised a `UserError`.
    """
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
  """Runs the process of a contender: sets it up, then answers requests."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
  try:
    start, wait, facts = setup(*args)
    first = _timed(start, wait)
    peak = _peak if _forget_peak() else lambda: None
    _timed(start, wait)
    connection.send((first.seconds, facts))
    while connection.recv():
      connection.send(_timed(start, wait, peak))
  except (EOFError, ConnectionError):
    pass  # the parent closed the connection
  except UserError as e:
    connection.send(UserError(str(e)))
  except Exception as e:  # every error is a result to report
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
  """Returns the peak memory of this process since `_forget_peak`, in bytes."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith('VmHWM'):
      return int(line.split()[1]) * 1024
  return None


def _forget_peak():
  """Resets the peak, so that `_peak` does not include the compilation.

  Returns False if the system cannot reset the peak.
  """
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/clear_refs').write_text('5')
    return True
  return False


def race(args, work, ours, theirs):
  """Times this project and, with --vs=torch, PyTorch in turn.

  Args:
    args: parsed flags, from `options.parse`.
    work: the `options.Work` of these flags: image size, batch size and size of
      the networks.
    ours: setup of this project, called as ours(args); returns (start, wait,
      facts) as `Contender` requires.
    theirs: setup of PyTorch with the same result, called as theirs(work,
      variant), where `variant` is a value of `options.VARIANTS`.

  Returns:
    List of `Contender`, this project first. Their processes have ended.

  Raises:
    UserError: a setup raised a `UserError`, or JAX uses an accelerator while
      PyTorch runs on the CPU.
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
          f'--vs=torch: PyTorch runs on the CPU, but JAX on {device}: set '
          f'JAX_PLATFORMS=cpu, or leave out --vs=torch'
        )
    for _ in range(args.steps):
      for contender in contenders:
        contender.step()
  finally:
    for contender in contenders:
      contender.close()
  return contenders
