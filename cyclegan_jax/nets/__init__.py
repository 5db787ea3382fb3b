"""Networks by name, and the function `apply` that runs them."""

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

# A name with a number fixes the depth; a plain name has the depth as an option.
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
  """Returns a network's constructor with all options set but `out_channels`.

  Args:
    table: `GENERATORS` or `DISCRIMINATORS`.
    name: key of the table.
    what: config section of the name, such as 'generator', for error messages.
    depth: number of residual blocks, levels or layers; 0 uses the network's
      default. Ignored by networks without the option `depth`.
    **options: values of further fields of the network classes; fields that only
      other networks of the table have are ignored.

  Returns:
    A function that makes the network, with the remaining fields as keyword
    arguments.

  Raises:
    UserError: `name` is unknown, or `depth` is given for a name that fixes it.
  """
  make = lookup(table, name, f'{what}.name')
  if depth:
    if isinstance(make, partial):
      raise UserError(
        f'{what}.depth={depth}: {what}.name={name!r} fixes the depth to '
        f'{make.keywords["depth"]}: use the name {name.split("_")[0]!r}'
      )
    options['depth'] = depth
  others = {x for other in table.values() for x in fields(other)}
  # Fields of other networks. config/unused.py raises if the user sets them.
  idle = others - fields(make)
  return partial(make, **{k: x for k, x in options.items() if k not in idle})


def fields(make: Callable[..., Net]) -> set[str]:
  """Returns the names of the dataclass fields of a network.

  Args:
    make: a value of `GENERATORS` or `DISCRIMINATORS`.
  """
  return {field.name for field in dataclasses.fields(network_class(make))}


def network_class(make: Callable[..., Net]) -> type[Net]:
  """Returns the class of a network.

  Args:
    make: a value of `GENERATORS` or `DISCRIMINATORS`: a class, or a `partial`
      of one.
  """
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
  """Runs a network on images and returns its output.

  Args:
    net: a network of this package.
    params: the network's parameters.
    images: [batch, height, width, channels] in [-1, 1].
    key: random key for dropout. A key switches training mode on; None switches
      dropout off.
    axis: name of the mapped device axis, or None outside of a mapped function.
    taps: names of intermediate features to return, a selection of the network's
      `taps`.
    only_taps: whether to stop after the last feature of `taps`.

  Returns:
    The network's output, float32 [batch, out_height, out_width, out_channels].
    With `taps`: the pair (output, features), where features is {tap: [batch,
    tap_height, tap_width, tap_channels]}. With `taps` and `only_taps`: features
    only.
  """
  wanted = {'taps': taps, 'only_taps': only_taps} if taps else {}

  # Batch norm uses statistics of the batch only: running averages are dropped.
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
