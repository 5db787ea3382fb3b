"""The networks by name, and the one way to run them."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.common.types import Params
from cyclegan_jax.nets.discriminators import PatchGAN, PixelGAN
from cyclegan_jax.nets.generators import ResnetGenerator, UnetGenerator
from cyclegan_jax.nets.layers import Net

# A name with a number fixes the depth; the plain name takes any.
GENERATORS = {
  'resnet': ResnetGenerator,
  'resnet_6blocks': partial(ResnetGenerator, depth=6),
  'resnet_9blocks': partial(ResnetGenerator, depth=9),
  'unet': UnetGenerator,
  'unet_128': partial(UnetGenerator, depth=7),
  'unet_256': partial(UnetGenerator, depth=8),
}
DISCRIMINATORS = {'patchgan': PatchGAN, 'pixelgan': PixelGAN}


def constructor(
  table: Mapping[str, Callable[..., Net]],
  name: str,
  what: str,
  *,
  depth: int = 0,
  **options: Any,
) -> partial[Net]:
  """The network `name` of a table, with its options set but out_channels.

  Args:
    table: `GENERATORS` or `DISCRIMINATORS`.
    name: a name of the table.
    what: the config section the name stands in, for errors.
    depth: blocks, levels or layers; 0 takes the network's own, as one whose
      depth is no option always does.
    **options: fields of the network's class.

  Raises:
    UserError: an unknown name, or a depth for a name that fixes it.
  """
  make = lookup(table, name, f'{what}.name')
  if depth:
    if isinstance(make, partial):
      raise UserError(
        f'{what}.depth={depth} does not go with {what}.name={name!r}, which '
        f'has {make.keywords["depth"]}: use {name.split("_")[0]!r}'
      )
    options['depth'] = depth
  others = {x for other in table.values() for x in fields(other)}
  idle = others - fields(make)  # config/unused.py refuses those that are set
  return partial(make, **{k: x for k, x in options.items() if k not in idle})


def fields(make: Callable[..., Net]) -> set[str]:
  """The names of the options that a network of a table has."""
  return {field.name for field in dataclasses.fields(network_class(make))}


def network_class(make: Callable[..., Net]) -> type[Net]:
  """The class of a network of a table."""
  kind = make.func if isinstance(make, partial) else make
  return kind  # type: ignore[return-value]


def apply(
  net: nn.Module,
  params: Params,
  images: Float[Array | np.ndarray, 'batch height width channels'],
  *,
  key: PRNGKeyArray | None = None,
  axis: str | None = None,
  taps: tuple[str, ...] = (),
  only_taps: bool = False,
) -> Any:
  """Runs a network.

  Args:
    net: a module of this package.
    params: its parameters.
    images: [batch, height, width, channels] in [-1, 1].
    key: switches training on (dropout) and draws its random numbers.
    axis: name of the mapped device axis, or None outside of one.
    taps: features to return beside the output, of the network's `taps`.
    only_taps: whether to run no further than the last of them.

  Returns:
    The network's output, float32 [batch, height', width', channels']. With
    `taps` the output and {tap: [batch, height'', width'', channels'']}; with
    `only_taps` that dict alone.
  """
  wanted = {'taps': taps, 'only_taps': only_taps} if taps else {}

  # Batch norm reads the batch alone, so its running averages are dropped.
  def run(params, images):
    output, _ = net.apply(
      {'params': params},
      images,
      train=key is not None,
      axis=axis,
      rngs=None if key is None else {'dropout': key},
      mutable=['batch_stats'],
      **wanted,
    )
    return output

  if getattr(net, 'remat', 'none') == 'all' and key is not None:
    run = jax.checkpoint(run)
  return run(params, images)
