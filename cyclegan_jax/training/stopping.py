"""Signals that ask a run to save and stop."""

import contextlib
import signal
import time

from cyclegan_jax.common import hosts, terminal

# Seconds in which signals are one and the same: of a killed parent the kernel
# tells once for each of its threads, and a scheduler may tell both the job and
# its processes.
_SAME = 1.0


class StopSignals:
  """Takes note of the first SIGINT, SIGTERM or SIGHUP; a later acts as usual.

  A SIGHUP that is ignored stays so, as `nohup` wants it. With several processes
  JAX takes note of SIGTERM, and all of them agree on a step to stop at
  (`Checkpoints.preempted`); the other signals are passed on as SIGTERM.

  An output that nobody reads any more counts as a SIGPIPE.

  Attributes:
    number: of the signal, or None.
  """

  def __enter__(self):
    self.number = None
    self._before = {}
    alone = not hosts.several()
    note = self._note if alone else self._pass_on
    handlers = dict.fromkeys(on_terminal(), note)
    if alone:
      handlers[signal.SIGTERM] = note
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

  def _pass_on(self, number, frame):
    del frame
    self.number = self.number or number
    signal.raise_signal(signal.SIGTERM)

  def told(self, preempted):
    """The signal to stop for, or None.

    Args:
      preempted: () -> whether all of several processes are to stop now.
    """
    several = hosts.several()
    if self.number is None and terminal.lost():
      self.number = signal.SIGPIPE
      if several:  # the others have to know
        signal.raise_signal(signal.SIGTERM)
    if several:
      return (self.number or signal.SIGTERM) if preempted() else None
    return self.number

  def _restore(self):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def __exit__(self, *error):
    self._restore()


def on_terminal():
  """Signals of a terminal: Ctrl-C, and its end unless that is ignored."""
  hangs_up = getattr(signal, 'SIGHUP', None)  # Windows has none
  if hangs_up is None or signal.getsignal(hangs_up) == signal.SIG_IGN:
    return [signal.SIGINT]
  return [signal.SIGINT, hangs_up]
