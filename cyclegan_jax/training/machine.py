"""The devices of a run, in a line for its user."""

import os

import jax

from cyclegan_jax.common import hosts


def line(mesh):
  """Names the devices that train: how many, their kind, memory and platform.

  Args:
    mesh: the `jax.sharding.Mesh` of the run.
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
  """Memory of an accelerator that JAX may use; cores of a CPU."""
  if device.platform == 'cpu':
    return [f'CPU cores: {_cores()}']
  try:
    limit = (device.memory_stats() or {}).get('bytes_limit')
  except jax.errors.JaxRuntimeError:  # a platform that does not tell
    limit = None
  return [f'{limit / 2**30:.1f} GiB each for JAX'] if limit else []


def _cores():
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count()
