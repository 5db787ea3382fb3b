"""Cache of decompressed volumes whose slices are read one by one."""

import collections
import threading
from collections.abc import Callable, Hashable

import numpy as np
from jaxtyping import Num

LIMIT = 2**30  # bytes of all cached volumes


class Volumes:
  """Thread-safe cache of the most recently used volumes; `get` reads it.

  Args:
    limit: most bytes of all cached volumes. A larger volume is cached alone.
  """

  def __init__(self, limit: int = LIMIT) -> None:
    self._limit = limit
    self._lock = threading.Lock()
    self._held = collections.OrderedDict()
    self._making = {}

  def get(
    self, key: Hashable, make: Callable[[], Num[np.ndarray, '...']]
  ) -> Num[np.ndarray, '...']:
    """Returns the volume of a key, from the cache or else from `make`.

    The result of `make` is cached. If two threads ask for the same key, the
    second waits for the result of the first.

    Args:
      key: identifies the volume.
      make: returns the volume; its errors are raised here.
    """
    with self._lock:
      making = self._making.setdefault(key, threading.Lock())
    with making:
      with self._lock:
        if key in self._held:
          self._held.move_to_end(key)
          self._making.pop(key, None)
          return self._held[key]
      try:
        volume = make()
        with self._lock:
          self._held[key] = volume
          self._shrink()
      finally:
        with self._lock:
          self._making.pop(key, None)
      return volume

  def _shrink(self):
    size = sum(x.nbytes for x in self._held.values())
    while size > self._limit and len(self._held) > 1:
      _, oldest = self._held.popitem(last=False)
      size -= oldest.nbytes
