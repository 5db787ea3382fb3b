"""Starts a command that is stopped when its parent dies, on chosen CPU cores.

    python child_process.py PARENT LOCK CORES COMMAND...

PARENT is the process id of the parent, LOCK a file, CORES the numbers of CPU
cores, joined by commas (empty = all cores). On Linux, the kernel sends SIGTERM
to the command when the parent ends for any reason, so that a training saves and
stops. A command of an earlier, killed parent may still be saving: the new
command starts only when LOCK is free, or after 60 seconds. This file does not
import the project, so that it turns into the command without delay.
"""

import ctypes
import errno
import fcntl
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; kept across exec
_IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_PATIENCE = 60  # seconds; then the command itself reports who holds the lock


def command(words, lock, cores):
  """Returns the argument list that runs a command as a child of this process.

  Args:
    words: argument list of the command itself.
    lock: path of the file that the command will lock; the file need not exist.
    cores: numbers of the CPU cores to use; an empty list means all cores.
  """
  cores = ','.join(map(str, cores))
  return [sys.executable, __file__, str(os.getpid()), str(lock), cores, *words]


def main(argv):
  _, parent, lock, cores, *words = argv
  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if cores:
      os.sched_setaffinity(0, map(int, cores.split(',')))
  if os.getppid() != int(parent):  # the parent ended before prctl
    return 128 + signal.SIGTERM
  _wait(lock)
  os.execvp(words[0], words)


def _wait(path):
  """Waits until no process holds the lock of a file, at most `_PATIENCE` s.

  Returns at once if the file does not exist or cannot be locked.
  """
  if not os.path.exists(path):
    return
  with open(path) as file:
    for _ in range(10 * _PATIENCE):
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
      except OSError as e:
        if e.errno not in _IN_USE:  # the file system has no locks
          return
        time.sleep(0.1)


if __name__ == '__main__':
  sys.exit(main(sys.argv))
