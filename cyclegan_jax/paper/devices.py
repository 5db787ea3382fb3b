"""Distributes accelerators and CPU cores over parallel child processes."""

import glob
import importlib.util
import os

from cyclegan_jax.common.errors import UserError


def places(count, jobs):
  """Returns one accelerator and a share of the CPU cores per parallel child.

  Args:
    count: number of children that run at the same time (--jobs).
    jobs: number of children in all. At most this many places are returned.

  Returns:
    [({environment variable: value}, core numbers)], one entry per parallel
    child. The variables make exactly one accelerator visible; they are {} on a
    machine without accelerators. With `count` 1 the single entry is ({}, []):
    the child sees all devices and all cores.

  Raises:
    UserError: the machine has accelerators, but fewer than `count`.
  """
  if count == 1:
    return [({}, [])]
  devices = _devices()
  if devices and len(devices) < count:
    raise UserError(
      f'--jobs={count}: there are {len(devices)} accelerators and each '
      'job needs one: give a smaller --jobs'
    )
  count = max(1, min(count, jobs))
  return [
    (devices[i] if devices else {}, _cores(i, count)) for i in range(count)
  ]


def _cores(index, count):
  """Returns the core numbers of child `index` of `count`.

  The list is empty on systems that cannot bind a process to cores.
  """
  if not hasattr(os, 'sched_getaffinity'):
    return []
  cores = sorted(os.sched_getaffinity(0))
  return cores[index::count] or [cores[index % len(cores)]]


def _devices():
  """Returns one {variable: value} per accelerator that hides all others."""
  name = 'CUDA_VISIBLE_DEVICES'
  if name in os.environ:
    return [{name: x} for x in os.environ[name].split(',') if x]
  gpus = glob.glob('/proc/driver/nvidia/gpus/*')
  if gpus:
    return [{name: str(i)} for i in range(len(gpus))]
  chips = glob.glob('/dev/accel[0-9]*') or glob.glob('/dev/vfio/[0-9]*')
  if not importlib.util.find_spec('libtpu'):
    return []
  one = '1,1,1'
  return [
    {
      'TPU_VISIBLE_CHIPS': str(i),
      'TPU_CHIPS_PER_PROCESS_BOUNDS': one,
      'TPU_PROCESS_BOUNDS': one,
    }
    for i in range(len(chips))
  ]
