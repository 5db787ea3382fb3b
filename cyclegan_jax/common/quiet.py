"""Context that suppresses messages printed by native libraries."""

import contextlib
import os
import sys


@contextlib.contextmanager
def silent_stderr():
  """Context that discards everything written to standard error.

  The file descriptor is redirected, so output of native code is discarded, too.
  For libraries that print before their logging can be configured.
  """
  sys.stderr.flush()
  kept = os.dup(2)
  with open(os.devnull, 'w') as nothing:
    os.dup2(nothing.fileno(), 2)
  try:
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
