"""The official code's --preprocess modes by name."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from cyclegan_jax.common.errors import UserError, lookup


class Preprocess(NamedTuple):
  """How a picture becomes a training image.

  Attributes:
    mode: a name of `MODES`.
    load_size: pixels to scale to, before the crop.
    crop_size: side of the square crop, for modes that crop.
    flip: whether to mirror at random.
  """

  mode: str = 'resize_and_crop'
  load_size: int = 286
  crop_size: int = 256
  flip: bool = True

  @property
  def crops(self) -> bool:
    return 'crop' in self.mode

  def train_size(self, width: int, height: int) -> tuple[int, int]:
    """(width, height) to resize to for training."""
    return MODES[self.mode](width, height, self.load_size, self.crop_size)

  def test_size(self, width: int, height: int) -> tuple[int, int]:
    """The same for a test picture: scaled so that the crop shows it all."""
    load = self.crop_size if self.crops else self.load_size
    return MODES[self.mode](width, height, load, self.crop_size)

  def test_crop(
    self, array: Shaped[np.ndarray, 'height width ...']
  ) -> Shaped[np.ndarray, 'crop_height crop_width ...']:
    """The middle [h, w, ...] of a resized test picture, in modes that crop."""
    if not self.crops:
      return array
    height, width = array.shape[:2]
    top = max(0, (height - self.crop_size) // 2)
    left = max(0, (width - self.crop_size) // 2)
    return array[top : top + self.crop_size, left : left + self.crop_size]

  def holds_crop(self, width: int, height: int) -> bool:
    """Returns False if a picture of this `train_size` is below a crop."""
    return not self.crops or min(width, height) >= self.crop_size

  def check_crop(self, name: str, width: int, height: int) -> None:
    """Raises `UserError` if a picture of this `train_size` is below a crop."""
    if not self.holds_crop(width, height):
      raise UserError(
        f'{name}: {width}x{height} is smaller than data.crop_size='
        f'{self.crop_size}: use {self.advice()}'
      )

  def check_one_size(
    self, name: str, size: tuple[int, int], others: tuple[int, int]
  ) -> None:
    """Raises `UserError` where all need one (width, height) and have others."""
    if not self.crops and size != others:
      raise UserError(
        f'{name}: {text(size)}, others are {text(others)}, and '
        f'data.preprocess={self.mode} does not crop to one size: use '
        f'{self.advice()}'
      )

  def advice(self, shortest: int = 0) -> str:
    """Flags with which pictures of any size can be trained on.

    Args:
      shortest: the shortest side of all pictures, as far as it is known.
    """
    mode = 'resize_and_crop'
    if self.mode == 'none' and shortest >= self.crop_size:
      mode = 'crop'
    elif 'scale' in self.mode:
      mode = 'scale_width_and_crop'
    flags = f'--config.data.preprocess={mode}'
    if mode in _CROPS_THE_LOADED and self.crop_size > self.load_size:
      # The official sizes are 286 and 256.
      load_size = round(self.crop_size * 286 / 256)
      flags += f' --config.data.load_size={load_size}'
    return flags


def text(size: tuple[int, int]) -> str:
  """A (width, height) in words."""
  return f'{size[0]}x{size[1]}'


def _width(width, height, load, crop):
  # Never lower than a crop, in the official code even where none is cut.
  return load, max(load * height // width, crop)


def _short_side(width, height, load, crop):
  short = min(width, height)
  return width * load // short, height * load // short


# (width, height, load_size, crop_size) -> (width, height)
MODES = {
  'resize_and_crop': lambda width, height, load, crop: (load, load),
  'crop': lambda width, height, load, crop: (width, height),
  'scale_width': _width,
  'scale_width_and_crop': _width,
  'scale_shortside': _short_side,
  'none': lambda width, height, load, crop: (width, height),
}

_CROPS_THE_LOADED = ('resize_and_crop', 'scale_width_and_crop')


def preprocess(
  mode: str, load_size: int, crop_size: int, flip: bool
) -> Preprocess:
  """A checked `Preprocess`.

  Raises:
    UserError: an unknown mode, or a crop larger than what it is cut from.
  """
  lookup(MODES, mode, 'data.preprocess')
  for name, size in (('load_size', load_size), ('crop_size', crop_size)):
    if size < 1:
      raise UserError(f'data.{name}={size} must be at least 1')
  if mode in _CROPS_THE_LOADED:
    _check_loaded(crop_size, 'data.load_size', load_size)
  return Preprocess(mode, load_size, crop_size, flip)


def check_in_decay(prepare: Preprocess, load_size_in_decay: int) -> None:
  """Checks the pixels to scale to while the learning rate decays.

  CUT and FastCUT (Park et al., ECCV 2020) scale to the crop's size then, which
  leaves flips alone at random.

  Args:
    prepare: the `Preprocess` of the steps before.
    load_size_in_decay: the pixels; 0: as before, which every mode takes.

  Raises:
    UserError: a mode that does not crop the loaded picture, or a crop larger
      than what it is cut from.
  """
  if not load_size_in_decay:
    return
  option = 'data.load_size_in_decay'
  if prepare.mode not in _CROPS_THE_LOADED:
    # Image pools are for images of one size, and so is a compiled step.
    raise UserError(
      f'{option}={load_size_in_decay} is only for modes that crop the loaded '
      f'picture ({", ".join(_CROPS_THE_LOADED)}), and data.preprocess='
      f'{prepare.mode} does not: use --config.{option}=0'
    )
  _check_loaded(prepare.crop_size, option, load_size_in_decay)


def _check_loaded(crop_size, option, load_size):
  """Raises `UserError` for a load size below the crop."""
  if crop_size > load_size:
    raise UserError(
      f'data.crop_size={crop_size} is larger than {option}={load_size}, '
      'and a crop is cut from the loaded picture: use '
      f'--config.{option}={crop_size} or more'
    )
