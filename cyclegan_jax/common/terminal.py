"""Wrappers for standard output and standard error whose reader may disappear.

The reader disappears behind `| head`, or when a terminal is closed. Python then
raises an error at a later print, and again at exit. `guarded` wraps both
streams, so that the error is handled once, in one place.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from cyclegan_jax.common import disk
from cyclegan_jax.common.errors import UserError

# Errors of a closed terminal. They are ignored: a program started with `nohup`
# or `disown` shall continue, and any other program is ended by SIGHUP.
_HUNG_UP = (errno.EIO, errno.ENXIO)


class Closed(BaseException):
  """Raised when the reader of standard output has gone, as behind `| head`.

  Like KeyboardInterrupt, not an `Exception`, so that code which handles errors
  of single pictures or files does not catch it.
  """


class Output:
  """Text stream that discards all text once writing to the stream has failed.

  `guarded` wraps standard output and standard error in it; `write` then raises
  one error, and `complain` raises it again later.

  Attributes:
    lost: the error with which writing failed, or None. A closed terminal is not
      recorded.
    patient: True to discard text silently; False to raise an error for the
      first text that is lost.
  """

  def __init__(self, stream: TextIO, patient: bool) -> None:
    self._stream = stream
    self.patient = patient
    self.lost: OSError | None = None

  def __getattr__(self, name: str):
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    """Writes text to the stream and returns the number of characters.

    Raises:
      Closed: the reader of the stream has gone, and `patient` is False.
      UserError: writing failed for another reason, such as a full disk, and
        `patient` is False.
    """
    self._try(lambda: self._stream.write(text))
    return len(text)

  def flush(self) -> None:
    """Flushes the stream.

    Raises:
      Closed: the reader of the stream has gone, and `patient` is False.
      UserError: writing failed for another reason, such as a full disk, and
        `patient` is False.
    """
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
    """Raises the error that lost some text, if any.

    Raises:
      Closed: the reader of the stream has gone.
      UserError: writing failed for another reason, such as a full disk.
    """
    if self.lost and self.lost.errno in (errno.EPIPE, errno.ESHUTDOWN):
      raise Closed from self.lost
    if self.lost:
      raise UserError(
        f'cannot write to standard output, {disk.failed(self.lost)}: make '
        'room, then run the same command to continue'
      ) from self.lost


def _drop(stream):
  """Redirects a stream to the null device, including its buffered text."""
  with (
    open(os.devnull, 'wb') as nowhere,
    # Raised by streams that are no file.
    contextlib.suppress(OSError, ValueError, AttributeError),
  ):
    os.dup2(nowhere.fileno(), stream.fileno())


def _open_missing():
  """Opens the file descriptors 0, 1 and 2 that are closed, on the null device.

  If a program is started with a closed descriptor (2>&-), the next file that is
  opened would get this number, and libraries would print into that file.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      flags = os.O_WRONLY if number else os.O_RDONLY
      opened = os.open(os.devnull, flags)  # gets the lowest free number
      os.set_inheritable(opened, True)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
  """Context in which standard output and standard error are an `Output`.

  If text printed to standard output is lost, the print raises `Closed` (the
  reader has gone) or `UserError` (such as a full disk). Lost text of standard
  error raises nothing.
  """
  _open_missing()
  before = sys.stdout, sys.stderr
  out, err = (stream or open(os.devnull, 'w') for stream in before)  # noqa: SIM115
  if hasattr(out, 'reconfigure'):
    out.reconfigure(line_buffering=True)  # a log file shows each line at once
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
  """Context in which a print does not fail if nobody reads standard output.

  The text is discarded instead, so that work can be saved first. Call `check`
  after the context: it raises the error for the lost text.
  """
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
  """Returns True if writing to standard output has failed."""
  return isinstance(sys.stdout, Output) and sys.stdout.lost is not None


def check() -> None:
  """Raises an error if some standard output was lost, for use after `patient`.

  Raises:
    Closed: the reader of standard output has gone.
    UserError: standard output is a file that cannot be written.
  """
  if isinstance(sys.stdout, Output):
    sys.stdout.complain()
