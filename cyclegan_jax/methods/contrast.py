"""PatchNCE for CUT, FastCUT and DCLGAN: features, projection heads, loss."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.methods import common
from cyclegan_jax.methods.losses import patch_nce
from cyclegan_jax.nets import heads as projection
from cyclegan_jax.nets.heads import ProjectionHead

# The options for an `Entry`.
OPTIONS = (
  'contrast.taps',
  'contrast.patches',
  'contrast.features',
  'contrast.temperature',
  'optim.lr_heads',
  'optim.beta1_heads',
)
# The default taps are those of the official code: layer 0 is the padded input,
# layers 4 and 8 are the downsampling convolutions, and layers 12 and 16 are the
# residual blocks 1 and 5. A network with fewer blocks uses its last block
# instead of block 5.
INPUT, _FIRST_BLOCK, _LATER_BLOCK = 'padded', 0, 4


class Contrast(NamedTuple):
  """PatchNCE between images, computed on the features of a generator.

  `init` makes the parameters of the projection heads, `loss` computes PatchNCE.

  Attributes:
    taps: names of the features that are compared.
    head: the projection head, a network that is used with other parameters for
      each tap.
    patches: largest number of positions that are compared in the features of
      each tap.
    temperature: temperature of `losses.patch_nce`.
  """

  taps: tuple[str, ...]
  head: ProjectionHead
  patches: int
  temperature: float

  def init(self, key, net, batch):
    """Initialises the projection heads.

    Args:
      key: a random key.
      net: the generator whose features the heads take.
      batch: images [batch, height, width, channels], read for shape and dtype.

    Returns:
      {tap: parameters of its head}.
    """
    images = jax.ShapeDtypeStruct((1, *batch.shape[1:]), batch.dtype)
    (_, features), _ = jax.eval_shape(
      lambda images: net.init_with_output(key, images, taps=self.taps), images
    )
    keys = jax.random.split(key, len(self.taps))
    return {
      tap: self.head.init(k, jnp.zeros((1, 1, features[tap].shape[-1])))[
        'params'
      ]
      for k, tap in zip(keys, self.taps)
    }

  def loss(self, query, query_heads, source, source_heads, key, flipped=None):
    """Computes PatchNCE, averaged over the taps.

    Args:
      query: {tap: features of the translations}, [batch, height, width,
        channels].
      query_heads: {tap: parameters} of the heads for `query`.
      source: {tap: features of the inputs of the translations}. No gradient is
        computed with respect to `source`.
      source_heads: {tap: parameters} of the heads for `source`.
      key: a random key that draws the positions. It must be the same on all
        devices.
      flipped: boolean scalar, true if the translations are those of the
        mirrored inputs; None if they never are.

    Returns:
      The loss, a scalar.
    """
    losses = []
    for tap, k in zip(self.taps, jax.random.split(key, len(self.taps))):
      shape = query[tap].shape
      places = there = projection.draw_places(k, shape, self.patches)
      if flipped is not None:
        # The official code mirrors the features, which takes longer.
        mirrored = projection.mirrored_places(places, shape)
        there = jnp.where(flipped, mirrored, places)
      source_tap = jax.lax.stop_gradient(source[tap])
      losses.append(
        patch_nce(
          self._vectors(query[tap], there, query_heads[tap]),
          self._vectors(source_tap, places, source_heads[tap]),
          self.temperature,
        )
      )
    return sum(losses) / len(losses)

  def _vectors(self, features, places, params):
    """Returns unit vectors [batch, places, features] of some positions."""
    return self.head.apply(
      {'params': params}, projection.at_places(features, places)
    )


def contrast(choices, net, *, with_input):
  """Makes a `Contrast` from the options `contrast.*`.

  Args:
    choices: the settings, a `Choices`.
    net: the generator whose features are compared.
    with_input: whether the default taps include the padded input image, as in
      CUT but not in DCLGAN.

  Raises:
    UserError: the generator has no taps, or lacks one that contrast.taps names.
  """
  options = choices.contrast
  if not net.taps:
    raise UserError(
      f'{type(net).__name__} has no features for PatchNCE: use '
      'generator.name=resnet'
    )
  taps = (name.strip() for name in options['taps'].split(','))
  taps = tuple(dict.fromkeys(filter(None, taps)))
  if not taps:
    later = min(_LATER_BLOCK, net.depth - 1)
    blocks = dict.fromkeys(net.blocks[i] for i in (_FIRST_BLOCK, later))
    taps = (*([INPUT] * with_input), 'down_1', 'down_2', *blocks)
  for tap in taps:
    if tap not in net.taps:
      raise UserError(
        f'contrast.taps: the generator has no {tap!r}: choose from '
        f'{", ".join(net.taps)}'
      )
  head = ProjectionHead(options['features'], net.init_type, net.init_gain)
  return Contrast(taps, head, options['patches'], options['temperature'])


def encode(net, params, batches, taps, key, axis):
  """Computes the features of several batches of images.

  The layers after the last tap are not run.

  Args:
    net: the generator.
    params: the parameters of `net`.
    batches: list of images [batch, height, width, channels], of equal shape.
    taps: names of the features.
    key: a random key for dropout.
    axis: name of the mapped device axis, or None.

  Returns:
    A list of {tap: features [batch, height', width', channels']}, one per
    batch.
  """
  return common.apply(
    net, params, batches, key, axis, taps=taps, only_taps=True
  )
