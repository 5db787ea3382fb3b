"""Preprocessing modes of the official code's --preprocess option."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from cyclegan_jax.common.errors import UserError, lookup


class Preprocess(NamedTuple):
  """Settings that turn a picture into a training image or a test image.

  The methods compute sizes and check them; `data.reader` does the resizing.

  Attributes:
    mode: name of the preprocessing mode, a key of `MODES`.
    load_size: size in pixels that pictures are resized to before the crop.
    crop_size: side of the random square crop in pixels, for modes that crop.
    flip: whether training images are mirrored at random.
  """

  mode: str = 'resize_and_crop'
  load_size: int = 286
  crop_size: int = 256
  flip: bool = True

  @property
  def crops(self) -> bool:
    """True if the mode cuts a square crop."""
    return 'crop' in self.mode

  def train_size(self, width: int, height: int) -> tuple[int, int]:
    """Returns the size that a training picture is resized to before the crop.

    Args:
      width: width of the picture, in pixels.
      height: height of the picture, in pixels.

    Returns:
      (width, height) in pixels.
    """
    return MODES[self.mode](width, height, self.load_size, self.crop_size)

  def test_size(self, width: int, height: int) -> tuple[int, int]:
    """Returns the size that a test picture is resized to before `test_crop`.

    In modes that crop, `crop_size` takes the role of `load_size`, so that the
    crop shows as much of the picture as the mode allows.

    Args:
      width: width of the picture, in pixels.
      height: height of the picture, in pixels.

    Returns:
      (width, height) in pixels.
    """
    load = self.crop_size if self.crops else self.load_size
    return MODES[self.mode](width, height, load, self.crop_size)

  def test_crop(
    self, array: Shaped[np.ndarray, 'height width ...']
  ) -> Shaped[np.ndarray, 'crop_height crop_width ...']:
    """Returns the central crop of a resized test picture.

    Args:
      array: pixels of a picture resized to `test_size`.

    Returns:
      A view whose sides are at most `crop_size`; `array` itself in modes that
      do not crop.
    """
    if not self.crops:
      return array
    height, width = array.shape[:2]
    top = max(0, (height - self.crop_size) // 2)
    left = max(0, (width - self.crop_size) // 2)
    return array[top : top + self.crop_size, left : left + self.crop_size]

  def holds_crop(self, width: int, height: int) -> bool:
    """Returns True if a resized training picture is large enough for the crop.

    Always True in modes that do not crop.

    Args:
      width: width of the picture after resizing (`train_size`), in pixels.
      height: height after resizing, in pixels.
    """
    return not self.crops or min(width, height) >= self.crop_size

  def check_crop(self, name: str, width: int, height: int) -> None:
    """Raises `UserError` if a resized training picture is too small to crop.

    Args:
      name: name of the picture, for the message.
      width: width of the picture after resizing (`train_size`), in pixels.
      height: height after resizing, in pixels.
    """
    if not self.holds_crop(width, height):
      raise UserError(
        f'{name}: {width}x{height} is smaller than data.crop_size='
        f'{self.crop_size}: use {self.advice()}'
      )

  def check_one_size(
    self, name: str, size: tuple[int, int], others: tuple[int, int]
  ) -> None:
    """Raises `UserError` if a picture differs in size from the others.

    Only in modes that do not crop, which need all pictures to be of one size
    after resizing.

    Args:
      name: name of the picture, for the message.
      size: (width, height) of the picture after resizing.
      others: (width, height) of the other pictures after resizing.
    """
    if not self.crops and size != others:
      raise UserError(
        f'{name}: {text(size)}, other pictures are {text(others)}, and '
        f'data.preprocess={self.mode} does not crop to one size: use '
        f'{self.advice()}'
      )

  def advice(self, shortest: int = 0) -> str:
    """Returns command-line options that allow training pictures of any size.

    Args:
      shortest: shortest side of all training pictures in pixels; 0 if unknown.
        With data.preprocess=none, crop is proposed if `shortest` is at least
        the crop size.

    Returns:
      Text such as '--config.data.preprocess=resize_and_crop', for messages;
      with data.load_size if the crop is larger than the load size.
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
  """Returns a (width, height) as text, such as '256x128'."""
  return f'{size[0]}x{size[1]}'


def _width(width, height, load, crop):
  """Returns the size of a picture resized to a given width."""
  # At least as high as a crop, in the official code also without cropping.
  return load, max(load * height // width, crop)


def _short_side(width, height, load, crop):
  """Returns the size of a picture resized to a given shorter side."""
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
  """Returns a `Preprocess` after checking the options.

  Args:
    mode: value of data.preprocess, a key of `MODES`.
    load_size: value of data.load_size, in pixels.
    crop_size: value of data.crop_size, in pixels.
    flip: value of data.flip.

  Raises:
    UserError: the mode is unknown, a size is below 1, or the crop is larger
      than the resized picture that it is cut from.
  """
  lookup(MODES, mode, 'data.preprocess')
  for name, size in (('load_size', load_size), ('crop_size', crop_size)):
    if size < 1:
      raise UserError(f'data.{name}={size}: must be at least 1')
  if mode in _CROPS_THE_LOADED:
    _check_loaded(crop_size, 'data.load_size', load_size)
  return Preprocess(mode, load_size, crop_size, flip)


def check_in_decay(prepare: Preprocess, load_size_in_decay: int) -> None:
  """Checks the option data.load_size_in_decay.

  The option is the load size while the learning rate decays.

  CUT and FastCUT (Park et al., ECCV 2020) use the crop size there, so that only
  the flips remain random.

  Args:
    prepare: the `Preprocess` of the steps before the decay.
    load_size_in_decay: the load size in pixels; 0 keeps `prepare.load_size`,
      which is valid in every mode.

  Raises:
    UserError: the mode does not crop a resized picture, or the crop is larger
      than the resized picture that it is cut from.
  """
  if not load_size_in_decay:
    return
  option = 'data.load_size_in_decay'
  if prepare.mode not in _CROPS_THE_LOADED:
    # The size of the images must not change within a run: the image pool and
    # the compiled step are made for one size.
    raise UserError(
      f'{option}={load_size_in_decay} needs a mode that crops the resized '
      f'picture ({", ".join(_CROPS_THE_LOADED)}), and data.preprocess='
      f'{prepare.mode} does not: use --config.{option}=0'
    )
  _check_loaded(prepare.crop_size, option, load_size_in_decay)


def _check_loaded(crop_size, option, load_size):
  """Raises `UserError` if a load size is smaller than the crop size."""
  if crop_size > load_size:
    raise UserError(
      f'data.crop_size={crop_size} is larger than {option}={load_size}, '
      'and a crop is cut from the resized picture: use '
      f'--config.{option}={crop_size} or more'
    )
