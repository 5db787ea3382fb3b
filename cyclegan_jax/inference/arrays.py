"""Checks arrays that a model is to translate, and chooses output types."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.values import Values

# Bicubic resizing overshoots [-1, 1], but stays within this bound.
_LARGEST = 1.5


def check_images(images: Shaped[np.ndarray, '...'], values: Values) -> None:
  """Raises `UserError` if an array is not an image or batch of a domain.

  Args:
    images: the array to check. Accepted are uint8, and floats in [-1, 1], of
      shape [height, width, channels] or [batch, height, width, channels].
    values: `Values` (channels and value range) of the domain, which give its
      number of channels.
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
  """Raises `UserError` if an array has a wrong shape or no real numbers.

  The numbers themselves are not checked.

  Args:
    array: the array to check. Accepted are booleans, integers and floats of
      shape [height, width, channels] or [batch, height, width, channels].
    values: `Values` (channels and value range) of the domain, which give its
      number of channels.
  """
  check_shape(array, values.channels)
  if array.dtype.kind not in 'biu' and not _is_floating(array.dtype):
    raise UserError(f'values of {array.dtype}: the model takes real numbers')


def check_shape(images: Shaped[np.ndarray, '...'], channels: int) -> None:
  """Raises `UserError` if an array has a wrong shape for an image or batch.

  Args:
    images: an array; [height, width, channels] and [batch, height, width,
      channels] are accepted, with no axis of length 0.
    channels: number of channels that the last axis must have.
  """
  if images.ndim not in (3, 4) or images.shape[-1] != channels:
    raise UserError(
      f'images of shape {images.shape}: the model takes '
      f'[height, width, {channels}] or [batch, height, width, {channels}]'
    )
  if 0 in images.shape:
    raise UserError(f'images of shape {images.shape}: the array is empty')


def check_bytes(values: Values, what: str) -> None:
  """Raises `UserError` if the pictures of a domain are not of 8 bits.

  Accepted are the range 0 to 255, and the range `auto`.

  Args:
    values: `Values` (channels and value range) of the domain.
    what: beginning of the error message: what needs uint8, and what to do
      instead.
  """
  if not (set(values.low) <= {0} and set(values.high) <= {255}):
    low, high = (' '.join(f'{x:g}' for x in xs) for xs in values[1:3])
    raise UserError(
      f'{what} ({values.option} is {low} to {high}, and must be 0 to 255)'
    )


def made_type(values: Values, given: np.dtype) -> np.dtype:
  """Returns the NumPy type in which translations to a domain are given.

  The type is the recorded type of the domain's training pictures. If none is
  recorded, the type is float32 for a domain with a range of its own. In all
  other cases the type is `given` if `given` is an integer type, and uint8 if
  not.

  Args:
    values: `Values` (channels and value range) of the domain of the
      translations.
    given: type of the input that is translated.
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
      '[-1, 1] (from 0 to 255 by images / 127.5 - 1), or uint8; '
      'translate_values() takes values of other ranges'
    )
