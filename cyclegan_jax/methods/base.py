"""What the engine knows of a method: four pure functions."""

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

# Given they may be NumPy's, made they are JAX's.
Images = Float[Array | np.ndarray, 'batch height width channels']
Made = Float[Array, 'batch height width other_channels']
Scalars = dict[str, Float[Array, '']]


class Choices(NamedTuple):
  """What a method is made of.

  Attributes:
    generator: out_channels -> network.
    discriminator: () -> network.
    channels: {'a': int, 'b': int}.
    adversarial_loss: an `AdversarialLoss`.
    weights: {option of loss.*: float}; each method uses its own.
    directions: what to train, of 'a2b' and 'b2a'.
    contrast: {option of contrast.*: value}, of methods with PatchNCE.
  """

  generator: Callable[..., Net]
  discriminator: Callable[[], Net]
  channels: Mapping[str, int]
  adversarial_loss: AdversarialLoss
  weights: Mapping[str, float]
  directions: tuple[str, ...] = DIRECTIONS
  contrast: Mapping[str, Any] = MappingProxyType({})


class Method(NamedTuple):
  """A way to learn image-to-image translation.

  Batches are {'a': images, 'b': images}, float32 [batch, height, width,
  channels] in [-1, 1]. `axis` is the name of the mapped device axis or None.

  Attributes:
    init: (key, batch) -> {'gen': {name: params}, 'disc': {name: params}}, and
      where the method has them 'heads', {name: params}, which are trained with
      the generators and not needed to translate, and 'frozen', weights that
      nobody trains.
    generator_loss: (params, batch, key, axis) -> (loss, (samples, terms)).
      `samples` is what the discriminators judge and the image pool replays;
      `terms` is a dict of named scalars, already weighted, whose sum is the
      loss. A term with weight 0 is not computed.
    discriminator_loss: (params, batch, samples, key, axis) -> (loss, (terms,
      scores)); `scores` are named scalars for the log alone.
    translate: (params, images, direction) -> images, without randomness;
      `params` need only hold 'gen'.
    generate: for methods that update their discriminators first: (params,
      batch, key, axis) -> a dict of all that `generator_loss` takes from the
      generators' passes over the batch; 'samples' is what it has in it for the
      discriminators. `generator_loss` takes the dict as `made`, or makes it.
      None: the generators are updated first.
    won: (mean score of reals, of fakes) -> whether the discriminator can tell
      them apart for certain, or None where scores have no such limits.
    directions: what `translate` can do, of 'a2b' and 'b2a'.
    generators: {direction: the network that alone is its translation, with
      params['gen'][direction]}; empty where translating takes more than that.
    paired: whether it learns from true pairs: batch['b'][i] is what
      batch['a'][i] should become.
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
  """A method and the options that it reads, a line of `METHODS`.

  Attributes:
    make: `Choices` -> `Method`.
    options: of loss.*, of the options that choose networks, and `directions`,
      those that the method reads; the others are not for it.
  """

  make: Callable[[Choices], Method]
  options: tuple[str, ...]
