"""Optimizers and learning rate schedules by name."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import optax

from cyclegan_jax.common.errors import choose, lookup


class Optimizer(NamedTuple):
  """A line of `OPTIMIZERS`.

  Attributes:
    make: (learning rate, *values of `options`) -> optimizer.
    options: those it takes, of 'beta1' and 'beta2'.
  """

  make: Callable[..., optax.GradientTransformation]
  options: tuple[str, ...] = ()


OPTIMIZERS = {
  'adam': Optimizer(
    lambda lr, b1, b2: optax.adam(lr, b1=b1, b2=b2), ('beta1', 'beta2')
  ),
  'sgd': Optimizer(optax.sgd),
}


def _constant(step, constant, decay, unit):
  return jnp.ones(())


def _linear(step, constant, decay, unit):
  # The official lambda rule, whole units (epochs) at a time.
  done = step // unit
  return 1.0 - jnp.maximum(0.0, done + 1 - constant) / (decay + 1)


def _cosine(step, constant, decay, unit):
  share = jnp.clip((step / unit - constant) / max(decay, 1), 0.0, 1.0)
  return 0.5 * (1 + jnp.cos(jnp.pi * share))


# Factor of the learning rate at a step; `unit` is the steps in an epoch, or 1.
SCHEDULES = {'linear': _linear, 'cosine': _cosine, 'constant': _constant}
UNITS = ('epochs', 'steps')


class Schedule(NamedTuple):
  """How the learning rates go, and how long the run is.

  Attributes:
    factor: step -> factor of the learning rate, in [0, 1].
    steps: length of the run.
  """

  factor: optax.Schedule
  steps: int


def schedule(
  name: str, unit: str, constant: int, decay: int, steps_per_epoch: int
) -> Schedule:
  """`constant` units at the full rate, then `decay` units down to 0.

  Args:
    name: of `SCHEDULES`; 'linear' in epochs is the paper's (Sec. 7.1) with
      the official code's rounding: 1 - max(0, epoch + 1 - constant) /
      (decay + 1).
    unit: 'epochs' or 'steps'.
    constant: units at the full rate.
    decay: units of decay.
    steps_per_epoch: steps in an epoch.
  """
  factor = lookup(SCHEDULES, name, 'schedule.name')
  choose(UNITS, unit, 'schedule.unit')
  size = steps_per_epoch if unit == 'epochs' else 1
  return Schedule(
    partial(factor, constant=constant, decay=decay, unit=size),
    (constant + decay) * size,
  )


def optimizer(
  name: str, lr: float, beta1: float, beta2: float, factor: optax.Schedule
) -> optax.GradientTransformation:
  """The optimizer `name` with learning rate `lr * factor(step)`."""
  make, options = lookup(OPTIMIZERS, name, 'optim.name')
  values = {'beta1': beta1, 'beta2': beta2}
  taken = [values[option] for option in options]
  return make(lambda step: lr * factor(step), *taken)
