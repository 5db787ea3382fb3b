"""Common parts of all commands: exit codes, log levels, large memory pages."""

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
  """Hides log messages and warnings of libraries that users need not see."""
  # Some libraries load TensorFlow, for example to read buckets. A parent
  # process that has imported JAX sets this variable to '1'.
  if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1':
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
  # Orbax and clu log a stack trace of every exception that they raise.
  absl_logging.set_verbosity(absl_logging.FATAL)
  for name in ('jax', 'urllib3'):
    logging.getLogger(name).setLevel(logging.ERROR)
  machine.explain_fallback()
  machine.hide_plugins()
  # Orbax logs here when a checkpoint is damaged; the error is reported in one
  # line anyway.
  logging.getLogger('asyncio').setLevel(logging.CRITICAL)
  warnings.filterwarnings('ignore', module='tensorflow')
  # The compilation cache is on a full disk, or has an entry cut off by a full
  # disk. JAX compiles again in both cases.
  warnings.filterwarnings('ignore', 'Error .*persistent compilation cache')
  _skip_left_writes()


def _skip_left_writes():
  """Hides the errors of writer threads that Orbax abandoned.

  When a checkpoint cannot be written, `Checkpoints` raises the reason. The
  threads of TensorStore that are still writing then fail with 'Event loop is
  closed', which Python would print.
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
  """Restarts the program with its memory in large pages; only on Linux.

  Each step on a CPU allocates gigabytes. With pages of 4 KB, this takes a tenth
  of the time of the step (docs/performance.md). The restart is needed because
  the allocator of the C library reads its settings only when a process starts.
  Does nothing if GLIBC_TUNABLES is set.
  """
  if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
    os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def run(main, argv=None):
  """Runs a program and returns its exit code.

  A `UserError` prints one line on standard error and returns the code of the
  error. Ctrl-C, if there is nothing to save or if it is pressed twice, prints
  one line and returns 130. If the reader of standard output is gone, as with
  `| head`, nothing is printed and 141 is returned. If several processes run,
  this process exits in all these cases without waiting for the others.

  Args:
    main: argv -> exit code or None.
    argv: the command line, program first; `sys.argv` by default.

  Raises:
    Exception: an unexpected error of `main`, unchanged.
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
    print('stopped immediately', file=sys.stderr)
    return _left(e, 128 + signal.SIGINT)
  except Exception as e:
    reason = files.unreachable(e) or disk.spoiled(e) or machine.unusable(e)
    if reason:
      print(f'error: {reason}', file=sys.stderr)
      return _left(e, USER_ERROR)
    _left(e, 1)
    raise


def _left(error, code):
  """Returns the exit code, or exits here if several processes run.

  Args:
    error: the exception that ends the program.
    code: the exit code.
  """
  if processes := sys.modules.get('cyclegan_jax.training.processes'):
    processes.leave(error, code)
  return code
