"""Advice on training in a new run folder, when a run cannot be resumed."""

import itertools
import shlex

import jax
import ml_collections
from flax import traverse_util

from cyclegan_jax.common import files
from cyclegan_jax.config.method import build_method
from cyclegan_jax.defaults import OPTIONS, get_config
from cyclegan_jax.training.workdir import Workdir


def advice(work: Workdir, old: dict, new: dict) -> str:
  """Returns advice for a run that cannot be resumed with changed settings.

  Args:
    work: the `Workdir` of the run, which has checkpoints.
    old: {option: value} that the run was trained with.
    new: {option: value} of the refused command.

  Returns:
    A phrase that ends with flags. The refused command is accepted when these
    flags are appended. They name a folder that does not exist yet and, if the
    networks fit, the old run as initial weights.
  """
  folder = f'--workdir={shlex.quote(str(_unused(work.path)))}'
  if new['init_from'] and new['init_from'] != old.get('init_from'):
    return f'start a new run with {folder}'
  if not _takes_weights(old, new):
    return f'start a new run, as its networks are different, with {folder}'
  init = f'--config.init_from={shlex.quote(str(work.path))}'
  return f'start a new run from its weights with {init} {folder}'


def _unused(path: files.Path) -> files.Path:
  """Returns the first of PATH_2, PATH_3, ... that does not exist."""
  numbered = (path.with_name(f'{path.name}_{n}') for n in itertools.count(2))
  return next(path for path in numbered if not path.exists())


def _takes_weights(old, new):
  """Returns True if networks of `new` can start from weights of `old`.

  `state.with_params` has the same rule: every network that both have must have
  parameters of the same names and shapes.

  Args:
    old: {option: value} of the config of the weights.
    new: {option: value} of the config of the new networks.
  """
  try:
    theirs, ours = _shapes(old), _shapes(new)
  except Exception:  # options that do not fit each other
    return False
  both = {path[:2] for path in theirs} & {path[:2] for path in ours}
  return bool(both) and all(
    theirs.get(path) == shape
    for path, shape in ours.items()
    if path[:2] in both
  )


def _shapes(options):
  """Returns {path of a parameter: its shape}, without computing any values."""
  config: ml_collections.ConfigDict = get_config()
  config.update_from_flattened_dict(
    {key: value for key, value in options.items() if key in OPTIONS}
  )
  side = config.data.crop_size
  batch = {
    d: jax.ShapeDtypeStruct(
      (1, side, side, config.data[f'channels_{d}']), 'float32'
    )
    for d in ('a', 'b')
  }
  key = jax.ShapeDtypeStruct((2,), 'uint32')
  params = jax.eval_shape(build_method(config).init, key, batch)
  flat = traverse_util.flatten_dict(params)
  return {path: leaf.shape for path, leaf in flat.items()}
