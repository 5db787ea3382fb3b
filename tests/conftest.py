"""Four virtual devices, no silent broadcasting, warnings as errors."""

import os
import pathlib
import tempfile

# Tests wait for the compiler, not for its code: the fast, plain one will do.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0')

import jax
import numpy as np
import pytest

from cyclegan_jax import cli

with cli.silent_stderr():  # else pytest's own last line is not the last
  import tensorflow as tf

  tf.constant(0)

import tiny

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
# Tests that run the same program again find it compiled.
_cache = tempfile.TemporaryDirectory()
jax.config.update('jax_compilation_cache_dir', _cache.name)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.fixture(scope='session')
def pictures(tmp_path_factory):
  """A folder in the official layout: 5 and 7 to train, 2 true pairs to test."""
  root = tmp_path_factory.mktemp('pictures')
  tiny.write_pictures(root)
  return pathlib.Path(root)


@pytest.fixture(scope='session')
def pairs(tmp_path_factory):
  """The same with 6 true pairs to train, as some methods need."""
  root = tmp_path_factory.mktemp('pairs')
  tiny.write_pictures(root, train=(6, 6))
  return pathlib.Path(root)
