"""Description of the devices of a run, printed when it starts."""

import os

import jax

from cyclegan_jax.common import hosts


def line(mesh):
  """Returns a line on the devices: number, kind, platform, memory or cores.

  Args:
    mesh: the `jax.sharding.Mesh` of the devices that train.
  """
  devices = list(mesh.devices.flat)
  used, there = len(devices), jax.device_count()
  count = f'{used}' if used == there else f'{used} of {there}'
  kind, platform = devices[0].device_kind, devices[0].platform
  about = [platform] * (platform != kind) + _of_each(jax.local_devices()[0])
  if hosts.several():
    about.append(f'{hosts.processes()} processes')
  return (
    f'devices: {count} x {kind} ({", ".join(about)}), JAX {jax.__version__}'
  )


def _of_each(device):
  """Returns [text]: memory per accelerator or number of CPU cores; else []."""
  if device.platform == 'cpu':
    return [f'CPU cores: {_cores()}']
  try:
    limit = (device.memory_stats() or {}).get('bytes_limit')
  except jax.errors.JaxRuntimeError:  # not every platform reports its memory
    limit = None
  return [f'{limit / 2**30:.1f} GiB each for JAX'] if limit else []


def _cores():
  """Number of CPU cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count()
