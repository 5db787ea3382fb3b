"""Calls of the compiled step, and the check of their results for NaN."""

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
  """A step gave NaN or infinity in a loss or a gradient."""


class Device:
  """Function that reads batches and calls the compiled step of a run.

  Up to two calls are queued, so that the device is idle only while it waits for
  input.

  Attributes:
    waited: seconds spent so far on reading batches, counted only where the
      device had finished its work before the batch was ready.
  """

  def __init__(self, run, mesh, share, state, say):
    """Opens the batches of a run at the step of a state.

    Args:
      run: the `Run`, all settings of the run.
      mesh: the `jax.sharding.Mesh` of the devices that train.
      share: (first, count): the pictures of each batch that this process reads.
      state: the `TrainState` from which the training continues.
      say: prints a line to the user.
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
    """Starts some steps on the device and does not wait for their results.

    Args:
      state: the `TrainState` before these steps, donated.
      count: number of steps.

    Returns:
      The `TrainState` after the last of the steps, and the metrics of that
      step, {name: scalar}.

    Raises:
      SickTraining: an earlier call gave NaN or infinity.
      UserError: a picture cannot be used. `state` is not donated then.
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
    """Waits until the device has done all steps up to `step`.

    Args:
      step: number of steps done.

    Raises:
      SickTraining: one of these steps gave NaN or infinity.
    """
    while self._running and self._running[0][0] <= step:
      self._finish()

  def _finish(self):
    """Waits for the oldest call, and warns or raises if it gave NaN."""
    last, count, metrics = self._running.popleft()
    nonfinite = int(metrics[NONFINITE])  # waits for the device
    if nonfinite == self._nonfinite:
      return
    self._nonfinite = nonfinite
    what = self._describe(last, count, jax.device_get(metrics))
    if self._run.on_nonfinite == 'stop':
      raise SickTraining(
        f'{what}: check these pictures, lower optim.lr, or set '
        'train.on_nonfinite=skip; the earlier checkpoints are kept'
      )
    self._say(f'warning: {what}: skipped, {nonfinite} steps so far')

  def _describe(self, last, count, metrics):
    """Returns the step, terms and pictures of a call that gave NaN, as text."""
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
