"""Exit codes, quiet libraries and large memory pages, for every command."""

import logging
import os
import signal
import sys
import warnings

from absl import logging as absl_logging

from cyclegan_jax.common import disk, files, machine, terminal
from cyclegan_jax.common.errors import UserError

USER_ERROR = 2


def quiet():
  """Keeps the libraries' chatter from the terminal."""
  # For the libraries that load TensorFlow themselves, as those of buckets do.
  # A parent that has imported JAX leaves '1'.
  if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1':
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
  # Orbax and clu log the stack trace of what they raise.
  absl_logging.set_verbosity(absl_logging.FATAL)
  for name in ('jax', 'urllib3'):
    logging.getLogger(name).setLevel(logging.ERROR)
  machine.explain_fallback()
  machine.hide_plugins()
  # Orbax's reads of a damaged checkpoint, which is reported in one line.
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  warnings.filterwarnings('ignore', module='tensorflow')
  # A user's cache on a full disk, or an entry cut off by one: it is compiled.
  warnings.filterwarnings('ignore', 'Error .*persistent compilation cache')
  _skip_left_writes()


def _skip_left_writes():
  """Says nothing of the writes that orbax left to themselves.

  When a checkpoint cannot be written, `Checkpoints` raises the reason. The
  threads of TensorStore that are still writing then find no event loop.
  """
  before = sys.unraisablehook
  if getattr(before, 'skips_left_writes', False):
    return

  def hook(unraisable):
    error = unraisable.exc_value
    if type(error) is not RuntimeError or str(error) != 'Event loop is closed':
      before(unraisable)

  hook.skips_left_writes = True
  sys.unraisablehook = hook


def large_pages():
  """Starts the program anew with its memory in large pages, on Linux.

  A step on the CPU fills gigabytes anew, which in pages of 4 KB costs a tenth
  of its time (docs/performance.md). The C library's allocator reads its
  settings when a process starts, and never again.
  """
  if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
    os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def run(main, argv=None):
  """Runs a program; returns its exit code.

  A `UserError` becomes one line on standard error and its exit code; Ctrl-C
  where there is nothing to save, or pressed twice, one line and 130; a reader
  that went away, as `| head` does, 141 and no line. One of several processes
  ends so without waiting for the others.
  """
  with terminal.guarded():
    return _run(main, sys.argv if argv is None else argv)


def _run(main, argv):
  try:
    code = main(argv) or 0
    terminal.check()
    return code
  except terminal.Closed as e:
    return _left(e, 128 + signal.SIGPIPE)
  except UserError as e:
    print(f'error: {e}', file=sys.stderr)
    return _left(e, e.code)
  except KeyboardInterrupt as e:
    print('stopped at once', file=sys.stderr)
    return _left(e, 128 + signal.SIGINT)
  except Exception as e:
    reason = files.unreachable(e) or disk.spoiled(e) or machine.unusable(e)
    if reason:
      print(f'error: {reason}', file=sys.stderr)
      return _left(e, USER_ERROR)
    _left(e, 1)
    raise


def _left(error, code):
  """The exit code; one of several processes is gone with it at once."""
  if processes := sys.modules.get('cyclegan_jax.training.processes'):
    processes.leave(error, code)
  return code
