"""Models as they are stored: runs, model folders and official files."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import serialization

from cyclegan_jax import pth
from cyclegan_jax.common import files, hosts
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.types import Params
from cyclegan_jax.config import paths
from cyclegan_jax.defaults import OPTIONS, get_config
from cyclegan_jax.inference.model import Model
from cyclegan_jax.training.workdir import Workdir

CONFIG, WEIGHTS = 'config.json', 'weights.msgpack'  # of a model folder


def load(
  path: str | os.PathLike[str],
  step: int | None = None,
  batch_norm: str = 'picture',
) -> Model:
  """Reads a model.

  Args:
    path: a run's folder (--workdir), a folder of imported or saved weights, an
      official .pth file, or a folder of such files.
    step: of a run, the checkpoint to take; of a folder of official files, the
      epoch; None for the newest.
    batch_norm: 'picture': batch norm takes the statistics of each picture, as
      in training and as the official test.py does; 'average': the running
      averages of an official file, as the official test.py --eval does.

  Raises:
    UserError: there is no model, or it can't be read.
  """
  path = files.place(path)
  there = files.followed(files.absolute(path))
  config, params, step = _read(there, path, step)
  if batch_norm == 'average':
    if config.generator.norm != 'batch' or not pth.has_averages(params['gen']):
      raise UserError(
        f'{path} has no running averages of batch norm: use '
        "batch_norm='picture'"
      )
    config.generator.norm = 'batch_frozen'
  elif batch_norm != 'picture':
    raise UserError(
      f"batch_norm={batch_norm!r} is unknown: choose 'picture' or 'average'"
    )
  return Model(config, params, step)


def from_flags(values: Mapping[str, Any]) -> tuple[Model, str]:
  """The model and direction of `flags.MODEL_FLAGS`.

  Raises:
    UserError: as `load`, and for a direction that it lacks or that is not
      given where there are two.
  """
  step = None if values['step'] < 0 else values['step']
  model = load(values['model'], step, values['batch-norm'])
  direction = values['direction']
  if not direction and len(model.directions) == 1:
    direction = model.directions[0]
  if direction not in model.directions:
    raise UserError(
      f'--direction={direction!r}: {values["model"]} translates '
      f'{" and ".join(model.directions) or "nothing"}'
    )
  return model, direction


def _read(path, name, step):
  if path.is_file():
    if path.suffix != '.pth':
      raise UserError(f'{name} is no model: give a .pth file or a folder')
    pth.check_epoch(path, name, step)
    return *_official([path]), step
  if not path.is_dir():
    raise UserError(f'no file or folder {name}: give a model')
  checkpoints = Workdir(path).checkpoints
  if checkpoints.is_dir():
    config = _config(path / CONFIG)
    from cyclegan_jax.training import checkpoint  # it loads orbax

    step, params = checkpoint.read_params(checkpoints, step)
    return config, params, step
  if (path / WEIGHTS).is_file() or not pth.epochs(path):
    if step is not None:
      raise UserError(f'{name} is no run with checkpoints: leave out the step')
    if (path / WEIGHTS).is_file():
      return _config(path / CONFIG), _weights(path / WEIGHTS), None
    raise UserError(
      f'{name} holds no model: neither checkpoints/ of a run nor {WEIGHTS} nor '
      f'latest_net_*.pth{_below(path)}'
    )
  chosen = pth.choose(path, name, step)
  if chosen.line and hosts.writes():
    print(chosen.line, file=sys.stderr)
  return *_official(chosen.paths), chosen.step


def _below(path):
  """Names a folder below that holds official files, as `checkpoints/NAME`."""
  found = sorted(x.parent for x in path.glob('*/*_net_G*.pth'))
  return f': give a folder below it, such as {found[0]}' if found else ''


def _official(paths):
  config, params = pth.load(paths)
  return _complete(config), params


def _config(path):
  try:
    return _complete(json.loads(path.read_text()))
  except OSError as e:
    raise UserError(f'{path} cannot be read ({files.failed(e)})') from e
  except (ValueError, AttributeError, KeyError, TypeError) as e:
    raise UserError(f'{path} is no config of a model ({e})') from e


def _complete(saved):
  """A saved config, with the defaults of what it does not say."""
  config = get_config()
  for key in OPTIONS:
    section, _, name = key.rpartition('.')
    there = saved.get(section, {}) if section else saved
    if name in there:
      (config[section] if section else config)[name] = there[name]
  return config


def _weights(path):
  try:
    params = serialization.msgpack_restore(path.read_bytes())
  except Exception as e:  # msgpack raises all kinds
    raise UserError(
      f'{path} cannot be read as weights ({type(e).__name__})'
    ) from e
  if not isinstance(params, dict):
    raise UserError(f'{path} cannot be read as weights')
  return params


def save(
  folder: str | os.PathLike[str],
  config: ml_collections.ConfigDict | Mapping[str, Any],
  params: Params,
) -> None:
  """Writes a model folder: config.json and weights.msgpack.

  Args:
    folder: made if missing.
    config: a ConfigDict, or a config as nested dicts.
    params: {'gen': {direction: params}, 'disc': {domain: params}}.

  Raises:
    UserError: it can't be written.
  """
  folder = files.place(folder)
  if isinstance(config, ml_collections.ConfigDict):
    config = config.to_dict()
  config = paths.recorded(config)
  with files.writing(folder):
    files.write(folder / CONFIG, json.dumps(config, indent=2) + '\n')
    files.write(
      folder / WEIGHTS,
      serialization.msgpack_serialize(jax.tree.map(np.asarray, params)),
    )
