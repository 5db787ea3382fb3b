"""Four virtual devices, no silent broadcasting, warnings as errors."""

import jax
import numpy as np
import pytest

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture
def rng():
  return np.random.default_rng(0)
