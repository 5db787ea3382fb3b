"""Sample grids: translations of fixed test pictures during training."""

from types import MappingProxyType

import jax
import numpy as np

from cyclegan_jax.common import images
from cyclegan_jax.common.directions import opposite

_ALL_ALIKE = MappingProxyType({'a': None, 'b': None})


class Sampler:
  """Translates fixed test pictures and draws the results as a grid.

  `start` computes the images, `grid` draws them.

  A row of the grid shows a picture of A, its translation, its reconstruction
  and its identity image, followed by the same columns for a picture of B.
  """

  def __init__(self, method, inputs, show=_ALL_ALIKE):
    """Stores the pictures that every grid shows.

    Args:
      method: the `Method` that translates. Columns that need a direction which
        the method lacks are left out.
      inputs: {'a': [image], 'b': [image]}, float images [h, w, c] in [-1, 1].
      show: {'a': channels, 'b': channels}, the channels of each domain to show,
        one or three numbers counted from 1, or None for the choice of
        `images.shown`.
    """
    self._directions = method.directions
    self._translate = jax.jit(method.translate, static_argnums=2)
    self._inputs = inputs
    self._show = show

  def translate(self, params, image, direction):
    """Translates one image. Compiles once per image size and direction.

    Args:
      params: {'gen': params}.
      image: [h, w, c] in [-1, 1].
      direction: 'a2b' or 'b2a'.

    Returns:
      The translation [h, w, c'] in [-1, 1], on the device.
    """
    return self._translate(params, image[None], direction)[0]

  def translation(self, params):
    """Returns a function that translates batches with these parameters.

    Args:
      params: {'gen': params}.

    Returns:
      (images [b, h, w, c], direction) -> translations, a NumPy array [b, h, w,
      c'] in [-1, 1].
    """
    return lambda images, direction: np.stack(
      [self.translate(params, image, direction) for image in images]
    )

  def start(self, state):
    """Starts to compute the images of a grid and does not wait for them.

    Args:
      state: a `TrainState`, which may be donated as soon as this method
        returns.

    Returns:
      {direction: rows}, where a row is the list [input, translation,
      reconstruction, identity image] of arrays on the device. The last two are
      left out if the method lacks the opposite direction, and the identity
      image also if the domains have different numbers of channels.
    """
    params = state.translation_params()

    def run(image, direction):
      return self.translate(params, image, direction)

    def columns(image, there, back):
      fake = run(image, there)
      if back not in self._directions:
        return [image, fake]
      same_channels = image.shape[-1] == fake.shape[-1]
      identity = [run(image, back)] if same_channels else []
      return [image, fake, run(fake, back), *identity]

    return {
      there: [
        columns(image, there, opposite(there))
        for image in self._inputs[there[0]]
      ]
      for there in self._directions
    }

  def grid(self, pictures, step=None):
    """Draws a grid with column titles.

    Args:
      pictures: the return value of `start`, as NumPy arrays.
      step: the step to write into the grid, or None.

    Returns:
      The grid, uint8 [height, width, 3].
    """
    shown = [
      [self._shown(there, row) for row in rows]
      for there, rows in pictures.items()
    ]
    titles = [
      title
      for there, rows in zip(pictures, shown)
      for title in _titles(there)[: len(rows[0])]
    ]
    return images.grid(
      [sum(row, []) for row in zip(*shown)],
      titles,
      '' if step is None else f'step {step}',
    )

  def _shown(self, there, row):
    """Returns the images of a row of a direction as RGB."""
    this, other = there.split('2')
    # The identity image is of the domain of its input.
    domains = (this, other, this, this)
    return [
      images.shown(image, self._show[domain])
      for image, domain in zip(row, domains)
    ]

  def pairs(self, pictures):
    """Returns the inputs and translations of the images of a grid.

    Args:
      pictures: the return value of `start`, as NumPy arrays.

    Returns:
      {direction: (inputs, translations)}, each a list of images [h, w, c].
    """
    return {
      there: tuple(list(column) for column in zip(*(row[:2] for row in rows)))
      for there, rows in pictures.items()
    }


def _titles(there):
  """Returns the titles of the four columns of a direction."""
  this, other = there.upper().split('2')
  return this, f'{this} to {other}', f'back to {this}', 'identity'
