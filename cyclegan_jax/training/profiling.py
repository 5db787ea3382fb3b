"""What a training does with its time: profiles, stuck steps, stragglers."""

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
  """Which steps to profile: `count` of them behind step `start`."""

  start: int
  count: int


def parse(text):
  """The `Profile` that START:COUNT asks for; None for ''.

  Raises:
    UserError: it is no such text.
  """
  if not text:
    return None
  start, _, count = text.partition(':')
  if not start.isdecimal() or not count.isdecimal() or not int(count):
    raise UserError(
      f'--profile={text} must be START:COUNT, as 100:5 for the five steps '
      'behind step 100'
    )
  return Profile(int(start), int(count))


class Profiler:
  """Writes a profile that TensorBoard opens, once its steps have come."""

  def __init__(self, profile, folder, settle, say):
    """Writes nothing yet.

    Args:
      profile: a `Profile`, or None to do nothing at all.
      folder: where TensorBoard reads; None for processes that write nothing.
      settle: (step) -> None, waits until it is done.
      say: tells the user a line.
    """
    self._wanted, self._folder = profile if folder else None, folder
    self._settle, self._say = settle, say
    self._running, self._scratch = False, None

  def __call__(self, step):
    """Takes note of the steps done: starts, or stops and writes."""
    if not self._wanted:
      return
    start, count = self._wanted
    if self._running and step >= start + count:
      self.close(step)
    elif not self._running and start <= step < start + count:
      self._settle(step)  # none of before is in it
      with files.writing(self._folder):
        self._start()
      self._running = True

  def _start(self):
    folder = self._folder
    if files.remote(folder):
      self._scratch = tempfile.TemporaryDirectory()
      folder = self._scratch.name
    jax.profiler.start_trace(str(folder))

  def close(self, step):
    """Ends a profile under way, with the steps it has."""
    if not self._running:
      return
    self._settle(step)
    with files.writing(self._folder):
      jax.profiler.stop_trace()
      if self._scratch:  # JAX writes no objects of a bucket
        files.copy_below(pathlib.Path(self._scratch.name), self._folder)
        self._scratch.cleanup()
    self._running, self._wanted = False, None
    self._say(f'profile up to step {step}: {self._folder}/plugins/profile')


class Watchdog:
  """Writes what every thread is doing, when no step has come for long.

  A loop over several devices that hangs says nothing by itself.
  """

  def __init__(self, seconds):
    """Takes the seconds without a step after which to write; 0 for never."""
    self._seconds = seconds
    self._set = 0.0

  def __enter__(self):
    self._arm()
    return self

  def __call__(self):
    """Takes note that a step was done."""
    if time.monotonic() - self._set > 1:  # each time costs a thread
      self._arm()

  def _arm(self):
    self._set = time.monotonic()
    # Without a file descriptor, as under some tests, there is nowhere to write.
    with contextlib.suppress(OSError, ValueError):
      if self._seconds:
        faulthandler.dump_traceback_later(
          self._seconds, repeat=True, file=sys.__stderr__
        )

  def __exit__(self, *error):
    faulthandler.cancel_dump_traceback_later()


def by_process(speed):
  """What each of several processes spent waiting for input, for the log.

  Steps go in step: a straggler shows as the one whose input is late.

  Args:
    speed: this process's speeds, from `log.Progress.speed`; all processes have
      to ask at the same step.

  Returns:
    {'process_I/seconds_per_step', 'process_I/input_wait'}; nothing for a
    single process.
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
