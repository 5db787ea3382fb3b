"""Functions for runs of several processes: roles, shares and exchange."""

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped

from cyclegan_jax.common.types import Translate

_Item = TypeVar('_Item')


def processes() -> int:
  """Number of processes of the run.

  Does not initialise a device in a single-process run.
  """
  return jax.process_count() if jax.distributed.is_initialized() else 1


def several() -> bool:
  """Returns True if the run has more than one process."""
  return processes() > 1


def writes() -> bool:
  """Returns True in process 0, which writes the files of all processes."""
  return not several() or jax.process_index() == 0


def wait_for_all(what: str) -> None:
  """Waits until every process has called this function with the same `what`.

  Args:
    what: name of this point in the program, for error messages of JAX.
  """
  if several():
    multihost_utils.sync_global_devices(what)


def from_all(
  array: Shaped[np.ndarray, '*shape'],
) -> Shaped[np.ndarray, ' processes *shape']:
  """Returns the arrays of all processes, stacked in the order of the processes.

  Every process must call the function, with an array of the same shape. Each
  process receives the whole result.
  """
  if not several():
    return np.asarray(array)[None]
  return multihost_utils.process_allgather(array)


def own_part(items: Sequence[_Item]) -> Sequence[_Item]:
  """Returns this process's share of a list that all processes hold.

  Process i of n gets the items i, i + n, i + 2n, and so on.
  """
  return (
    items[jax.process_index() :: jax.process_count()] if several() else items
  )


def shared(translate: Translate) -> Translate:
  """Returns a function that splits a batch of images over all processes.

  Every process must call the returned function with the whole batch. Each
  process translates its share and receives the translations of the whole batch.

  Args:
    translate: (images [b, h, w, c], direction) -> images; the function that
      translates a share in one process. Returned unchanged if there is only one
      process.
  """
  if not several():
    return translate

  def call(images, direction):
    size = -(-len(images) // jax.process_count())
    # If the batch does not divide evenly, the last image is repeated, because
    # all processes must translate batches of the same size.
    places = np.arange(size) + jax.process_index() * size
    own = images[np.minimum(places, len(images) - 1)]
    made = from_all(np.asarray(translate(own, direction), np.float32))
    return made.reshape(-1, *made.shape[2:])[: len(images)]

  return call
