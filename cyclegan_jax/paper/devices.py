"""What each of the children at a time gets of the machine."""

import glob
import importlib.util
import os

from cyclegan_jax.common.errors import UserError


def places(count, jobs):
  """A device and some cores for each of the children at a time.

  Args:
    count: how many there are at a time.
    jobs: how many there are in all; more would get nothing.

  Returns:
    [({variable of the environment: value}, cores)]: a device each where there
    are accelerators, and its share of the cores.

  Raises:
    UserError: there are fewer accelerators.
  """
  if count == 1:
    return [({}, [])]
  devices = _devices()
  if devices and len(devices) < count:
    raise UserError(
      f'--jobs={count}: there are {len(devices)} accelerators, one a job'
    )
  count = max(1, min(count, jobs))
  return [
    (devices[i] if devices else {}, _cores(i, count)) for i in range(count)
  ]


def _cores(index, count):
  """A child's share of the cores; none where the system has no say in it."""
  if not hasattr(os, 'sched_getaffinity'):
    return []
  cores = sorted(os.sched_getaffinity(0))
  return cores[index::count] or [cores[index % len(cores)]]


def _devices():
  """For each accelerator the variables that show a process it alone."""
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
