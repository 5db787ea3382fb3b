"""A trained model, to translate pictures with: `cyclegan_jax.load_model`."""

import json
import os
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import serialization
from jaxtyping import Float, Float32, UInt8

from cyclegan_jax import pth
from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import (
  crop_to,
  from_pixels,
  pad_to_multiple,
  to_pixels,
)
from cyclegan_jax.common.types import Image, Images, Params
from cyclegan_jax.config.method import build_method
from cyclegan_jax.defaults import OPTIONS, get_config
from cyclegan_jax.inference import tiled
from cyclegan_jax.nets.layers import Net
from cyclegan_jax.training.workdir import Workdir

CONFIG, WEIGHTS = 'config.json', 'weights.msgpack'
# In a norm of the generators: the running averages of PyTorch's batch norm.
_AVERAGE = 'mean'


class Model:
  """Networks with their weights.

  Attributes:
    config: the resolved config, a locked ConfigDict.
    method: the `Method` it asks for.
    params: {'gen': {'a2b', 'b2a'}, 'disc': {'a', 'b'}}, what there is of them.
    step: the step of training it is from; None for imported weights.
    directions: what it can translate, of 'a2b' and 'b2a'.
    channels: {'a': int, 'b': int}, 1 (gray) or 3 (RGB).
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    params: Params,
    step: int | None = None,
  ) -> None:
    self.config = config
    self.method = build_method(config)
    self.params = {'gen': {}, 'disc': {}} | params
    self.step = step
    self.directions = tuple(
      d for d in self.method.directions if d in self._translatable()
    )
    self.channels = {'a': config.data.channels_a, 'b': config.data.channels_b}
    self._translate = jax.jit(self.method.translate, static_argnums=2)

  @property
  def multiple(self) -> int:
    """What heights and widths are padded to a multiple of."""
    networks = self.method.generators.values()
    return max((net.multiple for net in networks), default=1)

  def _translatable(self):
    networks = self.method.generators
    return self.params['gen'] if networks else self.method.directions

  def network(self, direction: str) -> tuple[Net, Params]:
    """The generator of a direction, a Flax module, and its parameters.

    Raises:
      UserError: there is none.
    """
    self.check(direction)
    networks = self.method.generators
    if direction not in networks:
      raise UserError(
        f'method={self.config.method!r} translates by more than one network'
      )
    return networks[direction], self.params['gen'][direction]

  def check(self, direction: str) -> None:
    """Raises `UserError` for a direction the model can't translate."""
    if direction not in self.directions:
      raise UserError(
        f'this model has no direction {direction!r}: it translates '
        f'{" and ".join(self.directions) or "nothing"}'
      )

  @property
  def joins(self) -> bool:
    """Whether pictures of a batch leave each other alone."""
    return self.config.generator.norm != 'batch'

  def checksum(self) -> int:
    """CRC-32 of the generators, which tells one model from another."""
    crc = 0
    for leaf in jax.tree.leaves(self.params['gen']):
      crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
    return crc

  def translate(
    self,
    images: UInt8[np.ndarray, '*batch height width channels']
    | Float[np.ndarray, '*batch height width channels'],
    direction: str,
    tile: bool = False,
    progress: Callable[[float], object] = lambda fraction: None,
  ) -> (
    UInt8[np.ndarray, '*batch height width other_channels']
    | Float32[np.ndarray, '*batch height width other_channels']
  ):
    """Translates pictures of any size.

    Compiles once for each size, raised to multiples of what the network takes
    (4 for the ResNet).

    Args:
      images: [height, width, channels] or [batch, height, width, channels];
        uint8, or float in [-1, 1].
      direction: 'a2b' or 'b2a'.
      tile: whether to go tile by tile, which takes little memory, gives the
        same to 1e-3 and compiles nothing for another size.
      progress: with `tile` called with the fraction done of each picture.

    Returns:
      An array of the same height, width and kind (uint8, or float32 in
      [-1, 1]) with the other domain's channels.

    Raises:
      UserError: another direction than the model's, or an array that is no
        such picture.
    """
    self.check(direction)
    images = np.asarray(images)
    _check_images(images, self.channels[direction[0]])
    pixels = images.dtype == np.uint8
    batch = images[None] if images.ndim == 3 else images
    batch = from_pixels(batch) if pixels else batch.astype(np.float32)
    if tile:
      fakes = self._by_tiles(batch, direction, progress)
    else:
      fakes = np.stack(self.translate_together(batch, direction))
    if pixels:
      fakes = to_pixels(fakes)
    return fakes[0] if images.ndim == 3 else fakes

  def translate_together(
    self, images: Images | Sequence[Image], direction: str, count: int = 0
  ) -> list[Image]:
    """Translates pictures that have the same size once they are padded.

    Whole pictures are padded here alone: the network is given multiples of
    what it takes.

    Args:
      images: a sequence of float32 [height, width, channels] in [-1, 1].
      direction: 'a2b' or 'b2a', which the model has.
      count: number to translate at a time at least: fewer are filled up, so
        that nothing is compiled for them.

    Returns:
      A list of float32 [height, width, channels of the other domain].
    """
    padded = [pad_to_multiple(x, self.multiple) for x in images]
    padded += padded[-1:] * (count - len(padded))
    parts = [padded] if self.joins else [[x] for x in padded]
    fakes = np.concatenate(
      [self._translate(self.params, np.stack(x), direction) for x in parts]
    )
    return [crop_to(y, *x.shape[:2]) for x, y in zip(images, fakes)]

  def _by_tiles(self, batch, direction, progress):
    net, params = self.network(direction)
    with tempfile.TemporaryDirectory() as scratch:
      return np.stack(
        [
          tiled.apply(net, params, x, scratch=scratch, progress=progress)
          for x in batch
        ]
      )


def _check_images(images, channels):
  if images.ndim not in (3, 4) or images.shape[-1] != channels:
    raise UserError(
      f'images of shape {images.shape}: the model takes '
      f'[height, width, {channels}] or [batch, height, width, {channels}]'
    )
  if images.dtype != np.uint8 and images.dtype.kind != 'f':
    raise UserError(
      f'images of {images.dtype}: the model takes uint8, or float in [-1, 1]'
    )
  if 0 in images.shape:
    raise UserError(f'images of shape {images.shape}: there is nothing in them')


def load(
  path: str | os.PathLike[str],
  step: int | None = None,
  batch_norm: str = 'picture',
) -> Model:
  """Reads a model.

  Args:
    path: a run's folder (--workdir), a folder of imported or saved weights, an
      official .pth file, or a folder of such files.
    step: of a run, the checkpoint to take; None for the newest.
    batch_norm: 'picture': batch norm takes the statistics of each picture, as
      in training and as the official test.py does; 'average': the running
      averages of an official file, as the official test.py --eval does.

  Raises:
    UserError: there is no model, or it can't be read.
  """
  path = files.place(path)
  there = files.resolved(path) if files.remote(path) else path.absolute()
  config, params, step = _read(there, path, step)
  if batch_norm == 'average':
    if config.generator.norm != 'batch' or not _averages(params['gen']):
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
    return *_official([path]), None
  if not path.is_dir():
    raise UserError(f'no file or folder {name}: give a model')
  checkpoints = Workdir(path).checkpoints
  if checkpoints.is_dir():
    config = _config(path / CONFIG)
    from cyclegan_jax.training import checkpoint  # it loads orbax

    step, params = checkpoint.read_params(checkpoints, step)
    return config, params, step
  if step is not None:
    raise UserError(f'{name} is no run with checkpoints: leave out the step')
  if (path / WEIGHTS).is_file():
    return _config(path / CONFIG), _weights(path / WEIGHTS), None
  if found := sorted(path.glob('latest_net_*.pth')):
    return *_official(found), None
  raise UserError(
    f'{name} holds no model: neither checkpoints/ of a run nor {WEIGHTS} nor '
    'latest_net_*.pth'
  )


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


def _averages(tree):
  return isinstance(tree, dict) and (
    _AVERAGE in tree or any(_averages(x) for x in tree.values())
  )


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
  with files.writing(folder):
    files.write(folder / CONFIG, json.dumps(config, indent=2) + '\n')
    files.write(
      folder / WEIGHTS,
      serialization.msgpack_serialize(jax.tree.map(np.asarray, params)),
    )
