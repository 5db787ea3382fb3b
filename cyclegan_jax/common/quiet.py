"""Silence for what libraries print before they can be told not to."""

import contextlib
import os
import sys


@contextlib.contextmanager
def silent_stderr():
  """Drops what native code prints before its logging can be configured."""
  sys.stderr.flush()
  kept = os.dup(2)
  with open(os.devnull, 'w') as nothing:
    os.dup2(nothing.fileno(), 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
