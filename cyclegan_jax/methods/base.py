"""The interface of a method: pure functions that the training calls.

A method is a value of four functions: init, generator_loss, discriminator_loss
and translate. Some methods add a fifth one, generate.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from cyclegan_jax.common.directions import DIRECTIONS
from cyclegan_jax.common.types import Params
from cyclegan_jax.methods.losses import AdversarialLoss
from cyclegan_jax.nets.layers import Net

# Inputs of a method may be NumPy arrays; its outputs are JAX arrays.
Images = Float[Array | np.ndarray, 'batch height width channels']
Made = Float[Array, 'batch height width other_channels']
Scalars = dict[str, Float[Array, '']]


class Choices(NamedTuple):
  """The settings from which an `Entry` makes a `Method`.

  Attributes:
    generator: out_channels -> generator network.
    discriminator: () -> discriminator network.
    channels: {'a': number, 'b': number}, channels of the images of each domain.
    adversarial_loss: an `AdversarialLoss`.
    weights: {name: float}, the weights of the options loss.NAME. A method reads
      those that its `Entry` lists.
    directions: the directions to train, of 'a2b' and 'b2a'.
    contrast: {name: value} of the options contrast.NAME, for methods with
      PatchNCE.
  """

  generator: Callable[..., Net]
  discriminator: Callable[[], Net]
  channels: Mapping[str, int]
  adversarial_loss: AdversarialLoss
  weights: Mapping[str, float]
  directions: tuple[str, ...] = DIRECTIONS
  contrast: Mapping[str, Any] = MappingProxyType({})


class Method(NamedTuple):
  """A method of image-to-image translation, as functions and facts.

  In the signatures below, `batch` is {'a': images, 'b': images}, float32
  [batch, height, width, channels] in [-1, 1]. `params` is the dict that `init`
  returns, `key` is a random key, and `axis` is the name of the mapped device
  axis or None.

  Attributes:
    init: (key, batch) -> {'gen': {name: params}, 'disc': {name: params}}, the
      initial parameters. Some methods add 'heads', {name: params}, which are
      trained with the generators and not needed to translate, and 'frozen',
      weights that are never trained.
    generator_loss: (params, batch, key, axis) -> (loss, (samples, terms)).
      `samples` is {name: images} for the image pools and the discriminators.
      `terms` is {name: scalar}: the weighted terms, whose sum is the loss. A
      term with weight 0 is not computed.
    discriminator_loss: (params, batch, samples, key, axis) -> (loss, (terms,
      scores)). `terms` is as above, and `scores` is {name: scalar}, values for
      the log only.
    translate: (params, images, direction) -> images of the other domain,
      without randomness. Only params['gen'] is read.
    won: (mean score of real images, mean score of translations) -> True if the
      discriminator tells them apart with certainty; None if scores have no such
      limits.
    directions: the directions of `translate`, of 'a2b' and 'b2a'.
    generators: {direction: network}, where the network with the parameters
      params['gen'][direction] is the whole translation; {} if a translation
      needs more than one pass of a network.
    paired: whether the method learns from true pairs, so that batch['b'][i]
      must be the picture that corresponds to batch['a'][i].
    generate: (params, batch, key, axis) -> a dict of everything that
      `generator_loss` takes from the generators' passes over the batch, with
      the samples for the discriminators under 'samples'. `generator_loss` then
      has an argument `made` for this dict, and calls `generate` if `made` is
      None. A method with `generate` updates its discriminators first. If
      `generate` is None, the generators are updated first.
  """

  init: Callable[[PRNGKeyArray, Mapping[str, Images]], Params]
  generator_loss: Callable[
    ..., tuple[Float[Array, ''], tuple[dict[str, Made], Scalars]]
  ]
  discriminator_loss: Callable[
    ..., tuple[Float[Array, ''], tuple[Scalars, Scalars]]
  ]
  translate: Callable[[Params, Images, str], Made]
  won: Callable[[float, float], bool] | None = None
  directions: tuple[str, ...] = DIRECTIONS
  generators: Mapping[str, Net] = {}
  paired: bool = False
  generate: Callable[..., dict[str, Any]] | None = None


class Entry(NamedTuple):
  """An entry of `METHODS`: a method and the options that it reads.

  Attributes:
    make: `Choices` -> `Method`.
    options: names of the options that the method reads, of the options that not
      every method reads: `loss.*`, `contrast.*`, `directions`, and options of
      networks and projection heads. A config that sets another one of these
      options is refused.
  """

  make: Callable[[Choices], Method]
  options: tuple[str, ...]
