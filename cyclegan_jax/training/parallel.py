"""Runs the training step on all devices of all processes.

A step is mapped over the devices along one axis. Every device holds the same
whole state, and batches are split over the devices. The rest of the training
code does not depend on the number of devices.
"""

from functools import partial

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cyclegan_jax.common import hosts
from cyclegan_jax.common.errors import UserError, lookup

AXIS = 'devices'
# Makes XLA on the CPU run operations in sequence instead of in parallel. This
# takes 40% less temporary memory, and 25% more time for small pictures.
_SAVE_MEMORY = {'xla_cpu_scheduler_type': 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED'}


def varying(tree, axis):
  """Marks values that all devices share as separate copies on each device.

  Gradients must be taken with respect to these copies. The gradient with
  respect to a shared value is summed over the devices, and would thus be n
  times too large on n devices.

  Args:
    tree: a pytree of arrays that are equal on all devices.
    axis: name of the mapped device axis; None returns `tree` unchanged.
  """
  if axis is None:
    return tree
  return jax.tree.map(lambda x: lax.pcast(x, axis, to='varying'), tree)


def mean(tree, axis):
  """Returns the mean of each array over the devices, equal on all devices.

  Args:
    tree: a pytree of arrays.
    axis: name of the mapped device axis; None returns `tree` unchanged.
  """
  if axis is None:
    return tree
  return jax.tree.map(lambda x: lax.pmean(x, axis), tree)


def gather(images, axis):
  """Returns the whole batch on every device.

  Args:
    images: the images of this device [b, ...].
    axis: name of the mapped device axis; None returns `images` unchanged.

  Returns:
    The images of all devices in the order of the batch, [devices * b, ...].
  """
  if axis is None:
    return images
  return lax.all_gather(images, axis, tiled=True, to='invarying')


def own_share(images, axis):
  """Returns this device's part of a batch that every device holds.

  Args:
    images: the whole batch [devices * b, ...].
    axis: name of the mapped device axis; None returns `images` unchanged.

  Returns:
    The images [b, ...] of this device.
  """
  if axis is None:
    return images
  size = len(images) // lax.axis_size(axis)
  start = lax.axis_index(axis) * size
  return lax.dynamic_slice_in_dim(images, start, size)


def make_mesh(devices=0):
  """Makes a one-dimensional `jax.sharding.Mesh` of devices.

  Args:
    devices: number of devices to use, counted over all processes; 0 uses all.

  Raises:
    UserError: JAX finds fewer devices.
  """
  there = jax.devices()
  if devices > len(there):
    raise UserError(
      f'parallel.devices={devices}: JAX finds only {len(there)} '
      f'{jax.default_backend()} devices'
    )
  return Mesh(np.array(there[: devices or None]), (AXIS,))


def local_batch_size(batch_size, mesh, accumulate=1):
  """Number of pictures of each domain that this process reads per batch.

  Args:
    batch_size: pictures of each domain in a batch, over all devices.
    mesh: the `Mesh` of the devices that train.
    accumulate: number of parts in which a device processes its share of the
      batch.

  Raises:
    UserError: `batch_size` is not divisible by the number of devices times
      `accumulate`.
  """
  if batch_size % (mesh.size * accumulate):
    if accumulate > 1:
      raise UserError(
        f'train.batch_size={batch_size} is not divisible by '
        f'train.accumulate={accumulate} times the {mesh.size} devices: use a '
        f'multiple of {mesh.size * accumulate}'
      )
    raise UserError(
      f'train.batch_size={batch_size} is not divisible by the {mesh.size} '
      f'devices: use a multiple of {mesh.size}, or set parallel.devices'
    )
  return batch_size // mesh.size * len(mesh.local_devices)


def replicate(state, mesh):
  """Copies a state to all devices of a mesh and returns the copy.

  Args:
    state: a pytree of arrays, such as a `TrainState`.
    mesh: the `Mesh` of the devices, from `make_mesh`.
  """
  return jax.device_put(state, replicated(mesh))


def replicated(mesh):
  """Returns the sharding of the state: a whole copy on every device.

  Args:
    mesh: the `Mesh` of the devices, from `make_mesh`.
  """
  return NamedSharding(mesh, P())


def shard_mapped(step, mesh, stacked=False, remat='none'):
  """Compiles a step with `jax.shard_map` over the devices of a mesh.

  Args:
    step: (state, batch, axis) -> (state, metrics).
    mesh: from `make_mesh`.
    stacked: whether the batch has a leading axis of steps.
    remat: a name of `nets.generators.REMATS`. With any name but 'none', a CPU
      runs operations in sequence, which takes less memory and more time.

  Returns:
    The jitted function (state, global batch) -> (state, metrics). The state
    that it takes is donated.
  """
  mapped = jax.shard_map(
    partial(step, axis=AXIS),
    mesh=mesh,
    in_specs=(P(), split(mesh, stacked).spec),
    out_specs=P(),
  )
  on_cpu = mesh.devices.flat[0].platform == 'cpu'
  return jax.jit(
    mapped,
    donate_argnums=0,
    compiler_options=_SAVE_MEMORY if remat != 'none' and on_cpu else None,
  )


def split(mesh, stacked=False):
  """Returns the sharding of a batch, which is split over the devices.

  Args:
    mesh: from `make_mesh`.
    stacked: whether the batch has a leading axis of steps, which is not split.
  """
  return NamedSharding(mesh, P(None, AXIS) if stacked else P(AXIS))


def scan(step, state, inputs, platform=None):
  """Calls `lax.scan`, with the loop unrolled on the CPU.

  XLA on the CPU compiles a convolution inside a loop to slow code.

  Args:
    step: (state, element of `inputs`) -> (state, output).
    state: the initial state.
    inputs: a pytree of arrays with a leading axis of iterations.
    platform: name of the platform that the program is compiled for; None for
      the default backend.

  Returns:
    The last state, and the outputs stacked along a leading axis.
  """
  on_cpu = (platform or jax.default_backend()) == 'cpu'
  return lax.scan(step, state, inputs, unroll=on_cpu)


def _several(step):
  """Returns a function that does several steps in one program.

  The function takes batches with a leading axis of steps, and returns the last
  state and the metrics of the last step.
  """

  def steps(state, batches, axis=None):
    state, metrics = scan(partial(step, axis=axis), state, batches)
    return state, jax.tree.map(lambda x: x[-1], metrics)

  return steps


def _shard_map(step, mesh, stacked, remat):
  """Compiles a step as `map_step`, with `jax.shard_map`."""
  compiled = shard_mapped(step, mesh, stacked, remat)
  sharding = split(mesh, stacked)

  def call(state, batch):
    batch = jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )
    return compiled(state, batch)

  return call


def _pmap(step, mesh, stacked, remat):
  """Compiles a step as `map_step`, with `jax.pmap`."""
  del remat  # pmap takes no compiler options
  if hosts.several():
    raise UserError(
      'parallel.map="pmap" works only in a run of one process: use "shard_map"'
    )
  axis = int(stacked)
  compiled = jax.pmap(
    partial(step, axis=AXIS),
    AXIS,
    in_axes=(None, axis),
    out_axes=None,
    devices=mesh.devices.tolist(),
    donate_argnums=0,
  )

  def call(state, batch):
    def divide(x):
      """Splits the axis of the batch into devices and images per device."""
      return x.reshape(*x.shape[:axis], mesh.size, -1, *x.shape[axis + 1 :])

    return compiled(state, jax.tree.map(divide, batch))

  return call


MAPS = {'shard_map': _shard_map, 'pmap': _pmap}


def map_step(step, mesh, how='shard_map', *, several=False, remat='none'):
  """Compiles a step over the devices of a mesh.

  Args:
    step: (state, batch, axis) -> (state, metrics).
    mesh: from `make_mesh`.
    how: a name of `MAPS`; all give the same numbers.
    several: whether a call does several steps. The batch then has a leading
      axis of steps, and the metrics are those of the last step.
    remat: a name of `nets.generators.REMATS`. With any name but 'none', a CPU
      takes less memory and more time.

  Returns:
    (state, batch) -> (state, metrics), where `batch` is this process's part of
    the batch as NumPy arrays. The state that is passed in is donated and must
    not be used again.

  Raises:
    UserError: an unknown name, or 'pmap' in a run of several processes.
  """
  mapped = lookup(MAPS, how, 'parallel.map')
  step = _several(step) if several else step
  return mapped(step, mesh, several, remat)
