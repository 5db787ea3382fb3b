"""Starts a command that ends with its parent, on some of the cores.

    python child_process.py PARENT LOCK CORES COMMAND...

On Linux the kernel sends the command SIGTERM when its parent is gone, however
that was, so training saves and stops. What a killed parent left may still be
saving: the command starts when it is done. This file imports nothing of the
project, to become the command at once.
"""

import ctypes
import errno
import fcntl
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; stays over exec
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_PATIENCE = 60  # seconds; then the command says itself who has the lock


def command(words, lock, cores):
  """The words that start a command as a child of this process.

  Args:
    words: the command's own.
    lock: the file that it will lock, there or not.
    cores: numbers of those to use; none for all.
  """
  cores = ','.join(map(str, cores))
  return [sys.executable, __file__, str(os.getpid()), str(lock), cores, *words]


def main(argv):
  _, parent, lock, cores, *words = argv
  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if cores:
      os.sched_setaffinity(0, map(int, cores.split(',')))
  if os.getppid() != int(parent):  # it went before the kernel was asked
    return 128 + signal.SIGTERM
  _wait(lock)
  os.execvp(words[0], words)


def _wait(path):
  """Waits until nobody holds a lock; not where there are no locks."""
  if not os.path.exists(path):
    return
  with open(path) as file:
    for _ in range(10 * _PATIENCE):
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
      except OSError as e:
        if e.errno not in _IN_USE:  # a file system without locks
          return
        time.sleep(0.1)


if __name__ == '__main__':
  sys.exit(main(sys.argv))
