"""Sample grids: what the networks make of fixed test pictures."""

from types import MappingProxyType

import jax
import numpy as np

from cyclegan_jax.common import images
from cyclegan_jax.common.directions import opposite

_ALL_ALIKE = MappingProxyType({'a': None, 'b': None})


class Sampler:
  """Draws a row for each pair of pictures: a | a2b | a2b2a | identity | ..."""

  def __init__(self, method, inputs, show=_ALL_ALIKE):
    """Takes the pictures to show in every grid.

    Args:
      method: a `Method`; columns of directions it lacks are left out.
      inputs: {'a': [image], 'b': [image]}, float [h, w, c] in [-1, 1].
      show: {'a', 'b'}: the channels to show, as `images.shown` takes them.
    """
    self._directions = method.directions
    self._translate = jax.jit(method.translate, static_argnums=2)
    self._inputs = inputs
    self._show = show

  def translate(self, params, image, direction):
    """One image [h, w, c]; compiled once for each size and direction."""
    return self._translate(params, image[None], direction)[0]

  def translation(self, params):
    """The same as (images [b, h, w, c], direction) -> images, on the host."""
    return lambda images, direction: np.stack(
      [self.translate(params, image, direction) for image in images]
    )

  def start(self, state):
    """Starts to compute the pictures of a `TrainState`, waiting for nothing.

    The state may be donated as soon as this returns.
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
    """Draws a grid with titles.

    Args:
      pictures: what `start` returned, on the host.
      step: the step to name in the picture, or None.

    Returns:
      uint8 [height, width, 3].
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
    """Images of a row of a direction, as they are shown."""
    this, other = there.split('2')
    # The identity is of the domain of its input.
    domains = (this, other, this, this)
    return [
      images.shown(image, self._show[domain])
      for image, domain in zip(row, domains)
    ]

  def pairs(self, pictures):
    """The same as {direction: (inputs, translations)}."""
    return {
      there: tuple(list(column) for column in zip(*(row[:2] for row in rows)))
      for there, rows in pictures.items()
    }


def _titles(there):
  """Titles of the columns of a direction."""
  this, other = there.upper().split('2')
  return this, f'{this} to {other}', f'back to {this}', 'identity'
