"""Which process this one is, which one writes, and what they exchange."""

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped

from cyclegan_jax.common.types import Translate

_Item = TypeVar('_Item')


def processes() -> int:
  """Number of processes. Initialises no device in a single-process run."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def several() -> bool:
  """Returns True in a run of more than one process."""
  return processes() > 1


def writes() -> bool:
  """Returns True in the process that writes what all processes hold."""
  return not several() or jax.process_index() == 0


def wait_for_all(what: str) -> None:
  """Waits until every process has made the same call; `what` names it."""
  if several():
    multihost_utils.sync_global_devices(what)


def from_all(
  array: Shaped[np.ndarray, '*shape'],
) -> Shaped[np.ndarray, ' processes *shape']:
  """The arrays of all processes, stacked in their order, on each of them."""
  if not several():
    return np.asarray(array)[None]
  return multihost_utils.process_allgather(array)


def own_part(items: Sequence[_Item]) -> Sequence[_Item]:
  """This process's share of a list that all processes hold."""
  return (
    items[jax.process_index() :: jax.process_count()] if several() else items
  )


def shared(translate: Translate) -> Translate:
  """Splits a batch over the processes and gathers the whole result on each.

  Args:
    translate: (images [b, h, w, c], direction) -> images, on one process.
  """
  if not several():
    return translate

  def call(images, direction):
    size = -(-len(images) // jax.process_count())
    # The last images again where there are too few: all do the same work.
    places = np.arange(size) + jax.process_index() * size
    own = images[np.minimum(places, len(images) - 1)]
    made = from_all(np.asarray(translate(own, direction), np.float32))
    return made.reshape(-1, *made.shape[2:])[: len(images)]

  return call
