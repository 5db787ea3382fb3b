"""PatchNCE for several methods: features, projection heads, the loss."""

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
# Of the official code's layers 4, 8, 12 and 16 the two convolutions that halve,
# and the residual blocks 1 and 5, or the last of fewer; 0 is the picture.
INPUT, _FIRST_BLOCK, _LATER_BLOCK = 'padded', 0, 4


class Contrast(NamedTuple):
  """PatchNCE between pictures, by a generator's features.

  Attributes:
    taps: names of the features.
    head: the projection head of each.
    patches: places that are compared in each feature.
    temperature: of `patch_nce`.
  """

  taps: tuple[str, ...]
  head: ProjectionHead
  patches: int
  temperature: float

  def init(self, key, net, batch):
    """{tap: parameters of its head} for a batch's shape."""
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
    """PatchNCE, mean over the taps.

    Args:
      query: {tap: features of the translation}.
      query_heads: {tap: parameters} for them.
      source: {tap: features of the picture it was made from}; no gradient is
        taken by them.
      source_heads: {tap: parameters} for them.
      key: a random key that all devices share: draws the places.
      flipped: whether the translation is of the picture's mirror image, a
        boolean scalar; None: it never is.
    """
    losses = []
    for tap, k in zip(self.taps, jax.random.split(key, len(self.taps))):
      shape = query[tap].shape
      places = there = projection.draw_places(k, shape, self.patches)
      if flipped is not None:
        # Cheaper than to mirror the features, which the paper's code does.
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
    return self.head.apply(
      {'params': params}, projection.at_places(features, places)
    )


def contrast(choices, net, *, with_input):
  """The `Contrast` that choices ask for.

  Args:
    choices: `Choices`.
    net: the generator whose features are compared.
    with_input: whether the picture itself is one of the papers' features.

  Raises:
    UserError: a generator without features, or a tap that it does not have.
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
  """{tap: features} of each batch; no layer behind the last tap runs."""
  return common.apply(
    net, params, batches, key, axis, taps=taps, only_taps=True
  )
