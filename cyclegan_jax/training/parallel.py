"""The only file that knows about devices and processes.

A step is mapped over all devices along one axis. The state is the same on
every device and never stacked; batches are split.
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
# How XLA:CPU runs in turn what it else runs side by side: two fifths less
# temporary memory, and a quarter slower where pictures are small.
_SAVE_MEMORY = {'xla_cpu_scheduler_type': 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED'}


def varying(tree, axis):
  """A copy of shared values for each device, to differentiate apart.

  Without it the gradient of a shared value comes out summed over the devices,
  and averaging it leaves it n times too large.
  """
  if axis is None:
    return tree
  return jax.tree.map(lambda x: lax.pcast(x, axis, to='varying'), tree)


def mean(tree, axis):
  """The mean over the devices, on all of them."""
  if axis is None:
    return tree
  return jax.tree.map(lambda x: lax.pmean(x, axis), tree)


def gather(images, axis):
  """The whole batch on every device, in order."""
  if axis is None:
    return images
  return lax.all_gather(images, axis, tiled=True, to='invarying')


def own_share(images, axis):
  """This device's part of a whole batch."""
  if axis is None:
    return images
  size = len(images) // lax.axis_size(axis)
  start = lax.axis_index(axis) * size
  return lax.dynamic_slice_in_dim(images, start, size)


def make_mesh(devices=0):
  """A mesh of the first `devices` devices of all processes; 0 takes all.

  Raises:
    UserError: there are fewer devices.
  """
  there = jax.devices()
  if devices > len(there):
    raise UserError(
      f'parallel.devices={devices}, but there are only {len(there)} '
      f'{jax.default_backend()} devices'
    )
  return Mesh(np.array(there[: devices or None]), (AXIS,))


def local_batch_size(batch_size, mesh, accumulate=1):
  """Pictures of each batch that this process reads.

  Raises:
    UserError: the batch does not divide by the devices and, on each, by the
      `accumulate` parts whose gradients add up.
  """
  if batch_size % (mesh.size * accumulate):
    if accumulate > 1:
      raise UserError(
        f'train.batch_size={batch_size} is not divisible by '
        f'train.accumulate={accumulate} on each of {mesh.size} devices: use a '
        f'multiple of {mesh.size * accumulate}'
      )
    raise UserError(
      f'train.batch_size={batch_size} is not divisible by the {mesh.size} '
      f'devices: use a multiple of {mesh.size}, or set parallel.devices'
    )
  return batch_size // mesh.size * len(mesh.local_devices)


def replicate(state, mesh):
  """The state on all devices of the mesh."""
  return jax.device_put(state, replicated(mesh))


def replicated(mesh):
  """The sharding of the state."""
  return NamedSharding(mesh, P())


def shard_mapped(step, mesh, stacked=False, remat='none'):
  """The jitted step of a mesh: (state, whole batch) -> (state, metrics).

  The state is donated; `stacked` batches have the steps as leading axis; with
  any `remat` but 'none' a CPU does one thing after the other.
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
  """The sharding of a batch, or of several stacked along a leading axis."""
  return NamedSharding(mesh, P(None, AXIS) if stacked else P(AXIS))


def scan(step, state, inputs, platform=None):
  """`lax.scan`, but written out on the CPU.

  There XLA compiles a convolution within a loop to naive code.
  """
  on_cpu = (platform or jax.default_backend()) == 'cpu'
  return lax.scan(step, state, inputs, unroll=on_cpu)


def _several(step):
  """A step over batches stacked along a leading axis, in one program."""

  def steps(state, batches, axis=None):
    state, metrics = scan(partial(step, axis=axis), state, batches)
    return state, jax.tree.map(lambda x: x[-1], metrics)

  return steps


def _shard_map(step, mesh, stacked, remat):
  compiled = shard_mapped(step, mesh, stacked, remat)
  sharding = split(mesh, stacked)

  def call(state, batch):
    batch = jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )
    return compiled(state, batch)

  return call


def _pmap(step, mesh, stacked, remat):
  del remat  # pmap takes no compiler options
  if hosts.several():
    raise UserError(
      'parallel.map="pmap" works in one process only: use "shard_map"'
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
      return x.reshape(*x.shape[:axis], mesh.size, -1, *x.shape[axis + 1 :])

    return compiled(state, jax.tree.map(divide, batch))

  return call


MAPS = {'shard_map': _shard_map, 'pmap': _pmap}


def map_step(step, mesh, how='shard_map', *, several=False, remat='none'):
  """Compiles a step over the devices of a mesh.

  Args:
    step: (state, batch, axis) -> (state, metrics).
    mesh: from `make_mesh`.
    how: a name of `MAPS`; they give the same numbers.
    several: whether a call does several steps, by a batch with the steps as
      leading axis; it gives the last step's metrics.
    remat: any but 'none' saves memory at the cost of time, on a CPU.

  Returns:
    (state, this process's batch as numpy arrays) -> (state, metrics). The
    state handed in is donated: use the one that comes back.

  Raises:
    UserError: 'pmap' in several processes.
  """
  mapped = lookup(MAPS, how, 'parallel.map')
  step = _several(step) if several else step
  return mapped(step, mesh, several, remat)
