"""Handlers of the signals that ask a run to save and stop."""

import contextlib
import signal
import time

from cyclegan_jax.common import hosts, terminal

# Signals within this number of seconds count as one. The kernel signals the end
# of a parent once for each of its threads, and a scheduler may signal both the
# job and its processes.
_SAME = 1.0


class StopSignals:
  """Context manager that records the first SIGINT, SIGTERM or SIGHUP.

  `told` says before each step whether to stop. A second signal has its usual
  effect. SIGHUP stays ignored if it was ignored before, for example by `nohup`.
  If nobody reads the standard output any more, this is recorded as SIGPIPE.

  In a run of several processes, JAX handles SIGTERM, and the processes agree on
  a step to stop at (`Checkpoints.preempted`). The other signals are turned into
  SIGTERM.

  Attributes:
    number: number of the recorded signal, or None.
  """

  def __enter__(self):
    self.number = None
    self._before = {}
    alone = not hosts.several()
    note = self._note if alone else self._pass_on
    handlers = dict.fromkeys(on_terminal(), note)
    if alone:
      handlers[signal.SIGTERM] = note
    # Raises outside the main thread, where handlers cannot be set.
    with contextlib.suppress(ValueError):
      for number, handler in handlers.items():
        self._before[number] = signal.signal(number, handler)
    return self

  def _note(self, number, frame):
    """Records the first signal, and has a later one act as usual."""
    del frame
    now = time.monotonic()
    if self.number is None:
      self.number, self._since = number, now
    elif now - self._since > _SAME:
      self._restore()
      signal.raise_signal(number)

  def _pass_on(self, number, frame):
    """Records a signal and raises SIGTERM, which JAX handles."""
    del frame
    self.number = self.number or number
    signal.raise_signal(signal.SIGTERM)

  def told(self, preempted):
    """Returns the number of the signal to stop for now, or None.

    Args:
      preempted: () -> True if all processes of the run must stop at this step.
        It is only called in a run of several processes.
    """
    several = hosts.several()
    if self.number is None and terminal.lost():
      self.number = signal.SIGPIPE
      if several:  # so that the other processes stop too
        signal.raise_signal(signal.SIGTERM)
    if several:
      return (self.number or signal.SIGTERM) if preempted() else None
    return self.number

  def _restore(self):
    """Restores the previous signal handlers."""
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def __exit__(self, *error):
    self._restore()


def on_terminal():
  """Returns the numbers of the signals that a terminal sends.

  These are SIGINT for Ctrl-C, and SIGHUP when the terminal closes. SIGHUP is
  left out if it is ignored or does not exist.
  """
  hangs_up = getattr(signal, 'SIGHUP', None)  # Windows has none
  if hangs_up is None or signal.getsignal(hangs_up) == signal.SIG_IGN:
    return [signal.SIGINT]
  return [signal.SIGINT, hangs_up]
