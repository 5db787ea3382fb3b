"""Tests that options keep their name in fields and parameters of the code."""

import dataclasses
import inspect

import pytest
import tiny

from cyclegan_jax import nets
from cyclegan_jax.data import sources, volumes
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.defaults import OPTIONS
from cyclegan_jax.methods.base import Choices
from cyclegan_jax.methods.contrast import Contrast
from cyclegan_jax.metrics.base import Needs
from cyclegan_jax.metrics.table import table
from cyclegan_jax.metrics.test_set import truth
from cyclegan_jax.nets.heads import ProjectionHead
from cyclegan_jax.training import evaluation, optim
from cyclegan_jax.training.run import Logging, Run

# These options are converted early, to a `Source`, `Values` and a page.
USED_UP = ('data.source', 'data.range_a', 'data.range_b', 'log.report')


def names():
  """Yields fields and parameters of the code that may take options."""
  for values in (Run, Logging, Dataset, Preprocess, Choices, Needs, Contrast):
    yield from values._fields
  tables = (nets.GENERATORS, nets.DISCRIMINATORS)
  networks = [make for table in tables for make in table.values()]
  for make in (*networks, ProjectionHead):
    network = getattr(make, 'func', make)
    yield from (field.name for field in dataclasses.fields(network))
  for function in (
    volumes.expanded,
    nets.constructor,
    optim.optimizer,
    optim.schedule,
    table,
    evaluation.Tracker,
    *sources.SOURCES.values(),
    truth,
  ):
    yield from inspect.signature(function).parameters
  yield from (f'loss_{weight}' for weight in tiny.WEIGHTS)


@pytest.mark.parametrize('option', OPTIONS)
def test_an_option_keeps_its_name(option):
  if option in USED_UP:
    pytest.skip('used up by the config or by the command main')
  section, _, name = option.rpartition('.')
  found = set(names())
  per_domain = name.removesuffix('_a').removesuffix('_b')
  per_group = name.removesuffix('_heads')
  assert found & {name, f'{section}_{name}', per_domain, per_group}, option
