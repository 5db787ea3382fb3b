"""Signals that ask a run to save and stop."""

import contextlib
import signal
import time

from cyclegan_jax.common import hosts

# Seconds in which signals are one and the same: of a killed parent the kernel
# tells once for each of its threads, and a scheduler may tell both the job and
# its processes.
_SAME = 1.0


class StopSignals:
  """Takes note of the first SIGINT or SIGTERM; a later one acts as usual.

  With several processes JAX takes note of SIGTERM, and all of them agree on a
  step to stop at (`Checkpoints.preempted`); SIGINT is passed on as SIGTERM.

  Attributes:
    number: of the signal, or None.
  """

  def __enter__(self):
    self.number = None
    self._before = {}
    alone = not hosts.several()
    handlers = {signal.SIGINT: self._note if alone else _pass_on}
    if alone:
      handlers[signal.SIGTERM] = self._note
    with contextlib.suppress(ValueError):  # not in the main thread: no signals
      for number, handler in handlers.items():
        self._before[number] = signal.signal(number, handler)
    return self

  def _note(self, number, frame):
    del frame
    now = time.monotonic()
    if self.number is None:
      self.number, self._since = number, now
    elif now - self._since > _SAME:
      self._restore()
      signal.raise_signal(number)

  def _restore(self):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def __exit__(self, *error):
    self._restore()


def _pass_on(number, frame):
  del number, frame
  signal.raise_signal(signal.SIGTERM)
