"""Calls of the compiled step: ahead of the device, and what came of them."""

import collections
import math
import time

import jax
import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training import parallel
from cyclegan_jax.training import step as train_step
from cyclegan_jax.training.step import NONFINITE


class SickTraining(UserError):
  """A step had NaN or infinity in a loss or a gradient."""


class Device:
  """Calls the compiled step, at most two calls ahead of the device.

  So the device always has work, unless it has to wait for input.

  Attributes:
    waited: seconds so far in which input was read and the device, at the end of
      them, had nothing more to do.
  """

  def __init__(self, run, mesh, share, state, say):
    """Compiles nothing yet.

    Args:
      run: a `Run`.
      mesh: the devices.
      share: (first, count), this process's part of each batch.
      state: the state to go on from.
      say: tells the user a line.
    """
    step = train_step.make_step(
      run.method,
      run.optimizers,
      ema_decay=run.ema_decay,
      accumulate=run.accumulate,
      on_nonfinite=run.on_nonfinite,
    )
    self._one, self._several = (
      parallel.map_step(step, mesh, run.map, several=several, remat=run.remat)
      for several in (False, True)
    )
    self._run = run
    self._share = share
    self._say = say
    self._step = int(state.step)
    self._nonfinite = int(state.nonfinite)
    self._batches = run.data.batches(
      run.seed, run.batch_size, self._step, share
    )
    self._running = collections.deque()  # (last step, steps, metrics)
    self.waited = 0.0

  def __call__(self, state, count):
    """Starts `count` steps; the state and metrics they will give.

    Raises:
      SickTraining: an earlier call met NaN or infinity.
      UserError: a picture can't be used; the state is as it was.
    """
    while len(self._running) >= 2:
      self._finish()
    start = time.monotonic()
    batches = [next(self._batches) for _ in range(count)]
    if all(metrics[NONFINITE].is_ready() for *_, metrics in self._running):
      self.waited += time.monotonic() - start
    if count == 1:
      state, metrics = self._one(state, batches[0])
    else:
      stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
      state, metrics = self._several(state, stacked)
    self._step += count
    self._running.append((self._step, count, metrics))
    return state, metrics

  def settle(self, step):
    """Waits for what leads up to a step.

    Raises:
      SickTraining: it met NaN or infinity.
    """
    while self._running and self._running[0][0] <= step:
      self._finish()

  def _finish(self):
    last, count, metrics = self._running.popleft()
    nonfinite = int(metrics[NONFINITE])  # waits for it
    if nonfinite == self._nonfinite:
      return
    self._nonfinite = nonfinite
    what = self._describe(last, count, jax.device_get(metrics))
    if self._run.on_nonfinite == 'stop':
      raise SickTraining(
        f'{what}: look at the pictures, lower optim.lr, or set '
        'train.on_nonfinite=skip; the checkpoints of before are kept'
      )
    self._say(f'warning: {what}: skipped, {nonfinite} steps so far')

  def _describe(self, last, count, metrics):
    """The step, terms and pictures of a call with NaN or infinity."""
    run = self._run
    first = last - count + 1
    steps = f'step {last}' if count == 1 else f'one of steps {first} to {last}'
    terms = [k for k, v in sorted(metrics.items()) if not math.isfinite(v)]
    names = [
      f'{domain}: {", ".join(names)}'
      for step in range(first, last + 1)
      for domain, names in run.data.names(
        run.seed, run.batch_size, step - 1, self._share
      ).items()
    ]
    return (
      f'{steps}: NaN or infinity in {", ".join(terms) or "the gradients"} '
      f'(pictures {"; ".join(names)})'
    )
