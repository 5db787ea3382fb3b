"""Output of a program whose reader may go away: `| head`, a closed terminal.

Python raises an error at some later print, and once more when it exits. Here
standard output and standard error are wrapped once (`guarded`).
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from cyclegan_jax.common import disk
from cyclegan_jax.common.errors import UserError

# A terminal that was closed. A program that was told to go on by `nohup` or
# `disown` goes on, and any other one has a SIGHUP.
_HUNG_UP = (errno.EIO, errno.ENXIO)


class Closed(BaseException):
  """Nobody reads standard output any more, as behind `| head`.

  No `Exception`, as KeyboardInterrupt is none: it is no error of any work.
  """


class Output:
  """A text stream that drops what nobody reads.

  Attributes:
    lost: the error with which the reader went away, or None.
    patient: drops in silence; else the first text that is lost raises.
  """

  def __init__(self, stream: TextIO, patient: bool) -> None:
    self._stream = stream
    self.patient = patient
    self.lost: OSError | None = None

  def __getattr__(self, name: str):
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    """Writes a text.

    Raises:
      Closed: its reader went away.
      UserError: it is a file on a disk that is full.
    """
    self._try(lambda: self._stream.write(text))
    return len(text)

  def flush(self) -> None:
    """Hands on what was written; raises as `write`."""
    self._try(self._stream.flush)

  def _try(self, call):
    if self.lost:
      return
    try:
      call()
    except OSError as e:
      _drop(self._stream)
      if e.errno in _HUNG_UP:
        return
      self.lost = e
      if not self.patient:
        self.complain()

  def complain(self) -> None:
    """Raises what `write` does, if something was lost."""
    if self.lost and self.lost.errno in (errno.EPIPE, errno.ESHUTDOWN):
      raise Closed from self.lost
    if self.lost:
      raise UserError(
        f'cannot write to standard output, {disk.failed(self.lost)}: make '
        'room, then run the same command to continue'
      ) from self.lost


def _drop(stream):
  """Leads a stream nowhere, with what waits in it."""
  with (
    open(os.devnull, 'wb') as nowhere,
    contextlib.suppress(OSError, ValueError, AttributeError),  # no file
  ):
    os.dup2(nowhere.fileno(), stream.fileno())


def _open_missing():
  """Gives a program all of its three first descriptors.

  Else the next files it opens have the numbers of those that were closed
  (2>&-), and libraries write their messages into them.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      flags = os.O_WRONLY if number else os.O_RDONLY
      opened = os.open(os.devnull, flags)  # the lowest number that is free
      os.set_inheritable(opened, True)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
  """Wraps standard output and standard error for as long as it lasts."""
  _open_missing()
  before = sys.stdout, sys.stderr
  out, err = (stream or open(os.devnull, 'w') for stream in before)  # noqa: SIM115
  if hasattr(out, 'reconfigure'):
    out.reconfigure(line_buffering=True)  # a log shows each line at once
  sys.stdout, sys.stderr = Output(out, False), Output(err, True)
  try:
    yield
  finally:
    with patient():
      sys.stdout.flush()
    sys.stderr.flush()
    sys.stdout, sys.stderr = before


@contextlib.contextmanager
def patient() -> Iterator[None]:
  """Has a lost reader raise nothing, for work that is to be saved first."""
  out = sys.stdout
  if not isinstance(out, Output):
    yield
    return
  before, out.patient = out.patient, True
  try:
    yield
  finally:
    out.patient = before


def lost() -> bool:
  """Returns True once the reader of standard output went away."""
  return isinstance(sys.stdout, Output) and sys.stdout.lost is not None


def check() -> None:
  """Raises as `Output.write` if a text was lost meanwhile."""
  if isinstance(sys.stdout, Output):
    sys.stdout.complain()
