"""Profiles of a training, stack traces of stuck steps, and slow processes."""

import contextlib
import faulthandler
import pathlib
import sys
import tempfile
import time
from typing import NamedTuple

import jax
import numpy as np

from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError


class Profile(NamedTuple):
  """Steps to profile.

  Attributes:
    start: number of steps done before the profile starts.
    count: number of steps in the profile.
  """

  start: int
  count: int


def parse(text):
  """Parses the value of --profile.

  Args:
    text: 'START:COUNT', or '' for no profile.

  Returns:
    A `Profile`, or None for ''.

  Raises:
    UserError: `text` has another form, or COUNT is 0.
  """
  if not text:
    return None
  start, _, count = text.partition(':')
  if not start.isdecimal() or not count.isdecimal() or not int(count):
    raise UserError(
      f'--profile={text}: must be START:COUNT, for example 100:5 for the '
      'five steps after step 100'
    )
  return Profile(int(start), int(count))


class Profiler:
  """Writes a profile of some steps of a training, for TensorBoard.

  Call it before every step, and call `close` last.
  """

  def __init__(self, profile, folder, settle, say):
    """Stores the arguments; the profile starts at a later call.

    Args:
      profile: the `Profile` to write, or None for none.
      folder: path of the folder that TensorBoard reads; None in processes that
        write nothing.
      settle: (step) -> None, waits until the device has done all steps up to
        `step`.
      say: prints a line to the user.
    """
    self._wanted, self._folder = profile if folder else None, folder
    self._settle, self._say = settle, say
    self._running, self._scratch = False, None

  def __call__(self, step):
    """Starts or ends the profile when its steps are reached.

    Args:
      step: number of steps done.

    Raises:
      UserError: the profile cannot be written.
    """
    if not self._wanted:
      return
    start, count = self._wanted
    if self._running and step >= start + count:
      self.close(step)
    elif not self._running and start <= step < start + count:
      self._settle(step)  # keeps earlier steps out of the profile
      with files.writing(self._folder):
        self._start()
      self._running = True

  def _start(self):
    """Starts JAX's profiler, for a bucket in a temporary folder."""
    folder = self._folder
    if files.remote(folder):
      self._scratch = tempfile.TemporaryDirectory()
      folder = self._scratch.name
    jax.profiler.start_trace(str(folder))

  def close(self, step):
    """Ends and writes a profile that has started, even if steps are missing.

    Args:
      step: number of steps done.

    Raises:
      UserError: the profile cannot be written.
    """
    if not self._running:
      return
    self._settle(step)
    with files.writing(self._folder):
      jax.profiler.stop_trace()
      if self._scratch:  # JAX cannot write to a bucket
        files.copy_below(pathlib.Path(self._scratch.name), self._folder)
        self._scratch.cleanup()
    self._running, self._wanted = False, None
    self._say(f'profile up to step {step}: {self._folder}/plugins/profile')


class Watchdog:
  """Context manager that prints all stack traces if no step is done for long.

  Call it after every step. A run on several devices can hang without any error
  message. The stack traces of all threads are written to standard error, again
  and again until a step is done.
  """

  def __init__(self, seconds):
    """Stores the time limit.

    Args:
      seconds: time without a step after which the stack traces are written; 0
        for never.
    """
    self._seconds = seconds
    self._set = 0.0

  def __enter__(self):
    self._arm()
    return self

  def __call__(self):
    """Restarts the time limit, since a step was done."""
    if time.monotonic() - self._set > 1:  # each restart starts a thread
      self._arm()

  def _arm(self):
    """Restarts the timer of `faulthandler`."""
    self._set = time.monotonic()
    # Under some tests standard error has no file descriptor to write to.
    with contextlib.suppress(OSError, ValueError):
      if self._seconds:
        faulthandler.dump_traceback_later(
          self._seconds, repeat=True, file=sys.__stderr__
        )

  def __exit__(self, *error):
    faulthandler.cancel_dump_traceback_later()


def by_process(speed):
  """Collects the speeds of all processes of a run, for the log.

  All processes do their steps at the same time. A process that slows the others
  down because its input is late has the largest `input_wait`. All processes
  must call this function at the same step.

  Args:
    speed: the speeds of this process, as `log.Progress.speed` returns them.

  Returns:
    {'process_I/seconds_per_step': float, 'process_I/input_wait': float} of each
    process I; {} in a run of a single process.
  """
  if not hosts.several():
    return {}
  names = 'seconds_per_step', 'input_wait'
  there = hosts.from_all(np.array([speed[name] for name in names]))
  return {
    f'process_{i}/{name}': float(x)
    for i, row in enumerate(there)
    for name, x in zip(names, row)
  }
