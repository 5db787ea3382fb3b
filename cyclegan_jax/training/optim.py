"""Optimizers and learning rate schedules by name."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import optax

from cyclegan_jax.common.errors import lookup

# name -> (learning rate, beta1, beta2) -> optimizer
OPTIMIZERS = {
  'adam': lambda lr, b1, b2: optax.adam(lr, b1=b1, b2=b2),
  'sgd': lambda lr, b1, b2: optax.sgd(lr),
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

  factor: Callable
  steps: int


def schedule(name, unit, constant, decay, steps_per_epoch):
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
  lookup(dict.fromkeys(UNITS), unit, 'schedule.unit')
  size = steps_per_epoch if unit == 'epochs' else 1
  return Schedule(
    partial(factor, constant=constant, decay=decay, unit=size),
    (constant + decay) * size,
  )


def optimizer(name, lr, beta1, beta2, factor):
  """The optimizer `name` with learning rate `lr * factor(step)`."""
  make = lookup(OPTIMIZERS, name, 'optim.name')
  return make(lambda step: lr * factor(step), beta1, beta2)
