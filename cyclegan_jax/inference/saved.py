"""Loads models from runs, model folders, official files and the Hub."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from cyclegan_jax import pth
from cyclegan_jax.common import files, hosts, weights
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import padded_size
from cyclegan_jax.common.types import Params
from cyclegan_jax.config import paths
from cyclegan_jax.defaults import OPTIONS, PATHS, get_config
from cyclegan_jax.hub import address, client
from cyclegan_jax.inference.model import Model
from cyclegan_jax.training.workdir import Workdir

CONFIG, WEIGHTS = 'config.json', weights.WEIGHTS  # files of a model folder
FILES = (CONFIG, WEIGHTS, weights.MSGPACK)  # MSGPACK: earlier versions


def load(
  path: str | os.PathLike[str],
  step: int | None = None,
  batch_norm: str = 'picture',
) -> Model:
  """Loads a trained model.

  Args:
    path: a run folder (--workdir), a model folder, an official .pth file, a
      folder of official .pth files, or a model on the Hugging Face Hub as
      hf://USER/NAME@REVISION. Without @REVISION the newest commit on the Hub is
      loaded.
    step: for a run, the step of the checkpoint to load; for official files, the
      epoch. None for the newest.
    batch_norm: 'picture' or 'average'. With 'picture', batch norm uses the
      statistics of each picture, as in training and as the official test.py.
      With 'average', batch norm uses the running averages of an official file,
      as the official test.py --eval.

  Returns:
    A `Model`.

  Raises:
    UserError: `path` holds no model, the model cannot be read, it has no
      checkpoint of this step, or `batch_norm` does not fit the model.
  """
  name = os.fspath(path)
  if address.is_address(path):
    config, params, name = _of_hub(name, step)
    step = None
  else:
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
  model = Model(config, params, step, name)
  if address.is_address(path):  # not written by this user: check the weights
    _check_belongs(model)
  return model


def pinned(path: str, workdir: str | os.PathLike[str]) -> str:
  """Adds the commit hash to a Hub address of a run's initial weights.

  A run that is resumed therefore never changes its initial weights.

  Args:
    path: the value of --config.init_from.
    workdir: the run folder. If the run has checkpoints and has recorded a
      commit that `path` also stands for, that commit is returned.

  Returns:
    The Hub address with the hash of a commit. Any other path is returned
    unchanged.

  Raises:
    UserError: `path` is a Hub address that cannot be downloaded.
  """
  if not address.is_address(path):
    return path
  work = Workdir(workdir)
  if work.has_checkpoints():
    before = _config(work.config).init_from
    if address.is_address(before) and address.same(before, path):
      return before
  return str(_downloaded(path)[1])


def from_flags(values: Mapping[str, Any]) -> tuple[Model, str]:
  """Loads the model and direction that the flags of a command name.

  Args:
    values: {flag: value} of `flags.MODEL_FLAGS`: --model, --direction and the
      like.

  Returns:
    (`Model`, direction). A model of one direction needs no --direction.

  Raises:
    UserError: there is no model, it cannot be read, or it has no checkpoint of
      the step given; or the model does not translate in the direction given, or
      has two directions and none is given.
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
      raise UserError(f'{name} is not a model: give a .pth file or a folder')
    pth.check_epoch(path, name, step)
    return *_official([path]), step
  if not path.is_dir():
    raise UserError(f'no file or folder {name}: give a model')
  checkpoints = Workdir(path).checkpoints
  if checkpoints.is_dir():
    config = _config(path / CONFIG)
    from cyclegan_jax.training import checkpoint  # slow: loads orbax

    step, params = checkpoint.read_params(checkpoints, step)
    return config, params, step
  stored = weights.find(path)
  if stored or not pth.epochs(path):
    if step is not None:
      raise UserError(
        f'{name} is not a run with checkpoints: leave out the step'
      )
    if stored:
      return _config(path / CONFIG), weights.read(stored), None
    raise UserError(
      f'{name} holds no model: it has neither checkpoints/ of a run nor '
      f'{WEIGHTS} nor latest_net_*.pth{_below(path)}'
    )
  chosen = pth.choose(path, name, step)
  if chosen.line and hosts.writes():
    print(chosen.line, file=sys.stderr)
  return *_official(chosen.paths), chosen.step


def _of_hub(name, step):
  """Returns (config, parameters, address with its commit) of a Hub model."""
  if step is not None:
    raise UserError(
      f'{name} has no checkpoints: leave out the step; for another commit give '
      'hf://USER/NAME@REVISION'
    )
  (config, stored), pinned = _downloaded(name)
  config = _config(config)
  for key in PATHS:  # paths of the author's machine
    section, _, option = key.rpartition('.')
    (config[section] if section else config)[option] = ''
  return config, weights.read(stored), str(pinned)


def _downloaded(name):
  return client.download(address.parse(name), (CONFIG, WEIGHTS))


def _check_belongs(model):
  """Raises `UserError` if the weights do not fit the networks of the config."""
  if not model.directions:
    raise UserError(f'{model.name}: {WEIGHTS} holds no generator')
  crop = max(1, model.config.data.crop_size)  # CoGAN takes this size only
  height, width = padded_size((crop, crop), model.multiple)
  for direction in model.directions:
    channels = model.channels[direction[0]]
    images = jax.ShapeDtypeStruct((1, height, width, channels), np.float32)
    try:
      jax.eval_shape(
        lambda params, x, way=direction: model.method.translate(params, x, way),
        model.params,
        images,
      )
    except Exception as e:  # Flax and JAX raise many types
      raise UserError(
        f'{model.name}: {WEIGHTS} does not fit the networks of {CONFIG} '
        f'({type(e).__name__})'
      ) from e


def _below(path):
  """Returns advice that names a subfolder of official files, or ''."""
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
  except (
    ValueError,
    AttributeError,
    KeyError,
    TypeError,
    RecursionError,
  ) as e:
    raise UserError(f'{path} is not the config of a model ({e})') from e


def _complete(saved):
  """Returns a saved config with defaults for the options that it lacks."""
  config = get_config()
  for key in OPTIONS:
    section, _, name = key.rpartition('.')
    there = saved.get(section, {}) if section else saved
    if name in there:
      (config[section] if section else config)[name] = there[name]
  return config


def has_weights(folder: files.Path) -> bool:
  """Returns True if a folder holds a file of weights."""
  return weights.find(folder) is not None


def save(
  folder: str | os.PathLike[str],
  config: ml_collections.ConfigDict | Mapping[str, Any],
  params: Params,
) -> None:
  """Writes a model folder: config.json and model.safetensors.

  Equal configs and parameters give equal bytes.

  Args:
    folder: the model folder, which is created if missing.
    config: a ConfigDict, or a config as nested dicts.
    params: {'gen': {direction: params}, 'disc': {domain: params}}.

  Raises:
    UserError: a file cannot be written.
  """
  folder = files.place(folder)
  if isinstance(config, ml_collections.ConfigDict):
    config = config.to_dict()
  config = paths.recorded(config)
  with files.writing(folder):
    text = json.dumps(config, indent=2, sort_keys=True)
    files.write(folder / CONFIG, text + '\n')
    weights.write(folder, params)
