"""Optimizers and learning rate schedules, chosen by name."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import optax

from cyclegan_jax.common.errors import choose, lookup


class Optimizer(NamedTuple):
  """An entry of `OPTIMIZERS`.

  Attributes:
    make: (learning rate, values of `options`...) -> optax transformation. The
      learning rate is a number or a function of the step.
    options: names of the options that `make` takes, of 'beta1' and 'beta2'.
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
  """Returns the factor 1 at every step."""
  return jnp.ones(())


def _linear(step, constant, decay, unit):
  """Returns the official linear factor, which is constant within each unit."""
  done = step // unit
  return 1.0 - jnp.maximum(0.0, done + 1 - constant) / (decay + 1)


def _cosine(step, constant, decay, unit):
  """Returns the factor of a cosine from 1 to 0, which changes at each step."""
  share = jnp.clip((step / unit - constant) / max(decay, 1), 0.0, 1.0)
  return 0.5 * (1 + jnp.cos(jnp.pi * share))


# (step, constant, decay, unit) -> factor of the learning rate in [0, 1], where
# `constant` and `decay` count units of `unit` steps.
SCHEDULES = {'linear': _linear, 'cosine': _cosine, 'constant': _constant}
UNITS = ('epochs', 'steps')


class Schedule(NamedTuple):
  """The schedule of the learning rates, and the length of the run.

  Attributes:
    factor: step, from 0 -> factor of the learning rates, in [0, 1].
    steps: number of steps of the run.
  """

  factor: optax.Schedule
  steps: int


def schedule(
  name: str, unit: str, constant: int, decay: int, steps_per_epoch: int
) -> Schedule:
  """Returns a `Schedule`: a constant learning rate, then a decay to 0.

  Args:
    name: a name of `SCHEDULES`. 'linear' in epochs is the paper's schedule
      (Sec. 7.1) as the official code computes it: the factor is 1 - max(0,
      epoch + 1 - constant) / (decay + 1), with epochs from 0. 'constant' does
      not decay, but the run has the same length.
    unit: 'epochs' or 'steps', the unit of `constant` and `decay`.
    constant: number of units at the full learning rate.
    decay: number of units of decay.
    steps_per_epoch: number of steps in an epoch.

  Raises:
    UserError: an unknown name or unit.
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
  """Makes an optimizer with the learning rate `lr * factor(step)`.

  Args:
    name: a name of `OPTIMIZERS`.
    lr: learning rate before the schedule.
    beta1: decay of Adam's mean of the gradients; other optimizers ignore it.
    beta2: decay of Adam's mean of the squares; other optimizers ignore it.
    factor: the `Schedule.factor`.

  Raises:
    UserError: an unknown name.
  """
  make, options = lookup(OPTIMIZERS, name, 'optim.name')
  values = {'beta1': beta1, 'beta2': beta2}
  taken = [values[option] for option in options]
  return make(lambda step: lr * factor(step), *taken)
