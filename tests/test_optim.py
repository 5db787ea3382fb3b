"""Tests of learning rates against the official rule."""

import jax.numpy as jnp
import numpy as np
import pytest

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.training import optim


def rates(schedule):
  return [float(schedule.factor(jnp.int32(t))) for t in range(schedule.steps)]


def test_linear_in_epochs_is_the_official_rule():
  schedule = optim.schedule('linear', 'epochs', 100, 100, steps_per_epoch=3)
  assert schedule.steps == 600
  expected = [1 - max(0, t // 3 + 1 - 100) / 101 for t in range(600)]
  np.testing.assert_allclose(rates(schedule), expected, atol=1e-6)
  assert rates(schedule)[:300] == [1.0] * 300
  assert rates(schedule)[-1] == pytest.approx(1 / 101)


def test_linear_in_steps_decays_every_step():
  schedule = optim.schedule('linear', 'steps', 2, 3, steps_per_epoch=50)
  np.testing.assert_allclose(rates(schedule), [1, 1, 0.75, 0.5, 0.25])


def test_cosine_starts_at_1_and_halves_in_the_middle():
  schedule = optim.schedule('cosine', 'steps', 4, 8, steps_per_epoch=50)
  found = rates(schedule)
  assert found[:5] == [1.0] * 5
  assert found[8] == pytest.approx(0.5)
  assert found[-1] == pytest.approx(0.5 * (1 + np.cos(np.pi * 7 / 8)), rel=1e-5)


def test_constant_is_1_for_all_steps():
  schedule = optim.schedule('constant', 'epochs', 2, 1, steps_per_epoch=4)
  assert rates(schedule) == [1.0] * 12


def test_unknown_names_list_the_known_names():
  with pytest.raises(UserError, match="schedule.name='linar'.*'linear'"):
    optim.schedule('linar', 'steps', 1, 1, 1)
  with pytest.raises(UserError, match='schedule.unit=.*epochs, steps'):
    optim.schedule('linear', 'days', 1, 1, 1)
  with pytest.raises(UserError, match='optim.name=.*adam, sgd'):
    optim.optimizer('lion', 1e-4, 0.5, 0.999, lambda step: 1.0)


def test_an_update_uses_the_learning_rate_of_its_step():
  schedule = optim.schedule('linear', 'steps', 1, 3, steps_per_epoch=1)
  sgd = optim.optimizer('sgd', 2.0, 0.5, 0.999, schedule.factor)
  state = sgd.init(jnp.zeros(()))
  steps = []
  for _ in range(4):
    update, state = sgd.update(jnp.ones(()), state)
    steps.append(-float(update))
  np.testing.assert_allclose(steps, [2.0, 1.5, 1.0, 0.5])
