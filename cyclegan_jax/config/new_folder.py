"""Flags by which a run goes on in a new folder, where its own refuses it."""

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
  """Advice for a run whose settings or pictures have changed.

  Args:
    work: the `Workdir` of the run, which has checkpoints.
    old: {option: value} of the run.
    new: the options that were asked for.

  Returns:
    Words that end with flags: the command that was refused is accepted with
    them behind it.
  """
  folder = f'--workdir={shlex.quote(str(_unused(work.path)))}'
  if new['init_from'] and new['init_from'] != old.get('init_from'):
    return f'begin a new run by {folder}'
  if not _takes_weights(old, new):
    return f'begin a new run, whose networks are others, by {folder}'
  init = f'--config.init_from={shlex.quote(str(work.path))}'
  return f'train on from its weights in a new folder by {init} {folder}'


def _unused(path: files.Path) -> files.Path:
  numbered = (path.with_name(f'{path.name}_{n}') for n in itertools.count(2))
  return next(path for path in numbered if not path.exists())


def _takes_weights(old, new):
  """Returns True if `state.with_params` takes one's weights for the other."""
  try:
    theirs, ours = _shapes(old), _shapes(new)
  except Exception:  # options that a method or network does not go with
    return False
  both = {path[:2] for path in theirs} & {path[:2] for path in ours}
  return bool(both) and all(
    theirs.get(path) == shape
    for path, shape in ours.items()
    if path[:2] in both
  )


def _shapes(options):
  """{path of a parameter: its shape}; nothing is computed."""
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
