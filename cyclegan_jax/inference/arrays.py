"""Arrays that a model is given: which it takes, and the types it gives."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.values import Values

# Bicubic resizing exceeds [-1, 1], by no more than this.
_LARGEST = 1.5


def check_images(images: Shaped[np.ndarray, '...'], values: Values) -> None:
  """Raises `UserError` for an array that is no picture or batch of a domain.

  Args:
    images: uint8, or float in [-1, 1].
    values: `Values` of the domain.
  """
  check_shape(images, values.channels)
  floats = _is_floating(images.dtype)
  if images.dtype != np.uint8 and not floats:
    raise UserError(
      f'images of {images.dtype}: the model takes uint8, or float in [-1, 1], '
      'and translate_values() takes other types'
    )
  if floats:
    _check_range(float(images.min()), float(images.max()))


def check_values(array: Shaped[np.ndarray, '...'], values: Values) -> None:
  """Raises `UserError` for an array that holds no values of a domain.

  Args:
    array: of real numbers, in the range of the domain.
    values: `Values` of the domain.
  """
  check_shape(array, values.channels)
  if array.dtype.kind not in 'biu' and not _is_floating(array.dtype):
    raise UserError(f'values of {array.dtype}: the model takes real numbers')


def check_shape(images: Shaped[np.ndarray, '...'], channels: int) -> None:
  """Raises `UserError` for a shape that no picture or batch has."""
  if images.ndim not in (3, 4) or images.shape[-1] != channels:
    raise UserError(
      f'images of shape {images.shape}: the model takes '
      f'[height, width, {channels}] or [batch, height, width, {channels}]'
    )
  if 0 in images.shape:
    raise UserError(f'images of shape {images.shape}: there is nothing in them')


def check_bytes(values: Values, what: str) -> None:
  """Raises `UserError` for a domain whose pictures are not of 8 bits.

  Args:
    values: `Values` of the domain.
    what: what asks for uint8, and what to do without, for the message.
  """
  if not (set(values.low) <= {0} and set(values.high) <= {255}):
    low, high = (' '.join(f'{x:g}' for x in xs) for xs in values[1:3])
    raise UserError(
      f'{what} ({values.option} goes from {low} to {high}, and not from 0 to '
      '255)'
    )


def made_type(values: Values, given: np.dtype) -> np.dtype:
  """The type of values that are translated to a domain.

  Args:
    values: `Values` of that domain, whose own type is taken if it is recorded.
    given: type of the values that are translated.
  """
  if values.dtype:
    return np.dtype(values.dtype)
  if values.low:
    return np.dtype(np.float32)
  return np.dtype(given if given.kind in 'iu' else np.uint8)


def _is_floating(dtype):
  return bool(jnp.issubdtype(dtype, jnp.floating))  # bfloat16 too


def _check_range(low, high):
  if not math.isfinite(low) or not math.isfinite(high):
    raise UserError(
      'images with NaN or infinity: the model takes floats in [-1, 1]'
    )
  if max(-low, high) > _LARGEST:
    raise UserError(
      f'images of floats from {low:g} to {high:g}: the model takes floats in '
      '[-1, 1] (of 0 to 255: images / 127.5 - 1), or uint8; translate_values() '
      'takes values of other ranges'
    )
