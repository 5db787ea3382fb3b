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

from cyclegan_jax.errors import UserError, lookup

AXIS = 'devices'


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


def local_batch_size(batch_size, mesh):
  """Pictures of each batch that this process reads.

  Raises:
    UserError: the batch does not divide.
  """
  if batch_size % mesh.size:
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


def _shard_map(step, mesh):
  mapped = jax.shard_map(
    partial(step, axis=AXIS), mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P()
  )
  compiled = jax.jit(mapped, donate_argnums=0)
  sharding = NamedSharding(mesh, P(AXIS))

  def call(state, batch):
    batch = jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )
    return compiled(state, batch)

  return call


def _pmap(step, mesh):
  if jax.process_count() > 1:
    raise UserError(
      'parallel.map="pmap" works in one process only: use "shard_map"'
    )
  compiled = jax.pmap(
    partial(step, axis=AXIS),
    AXIS,
    in_axes=(None, 0),
    out_axes=None,
    devices=mesh.devices.tolist(),
    donate_argnums=0,
  )

  def call(state, batch):
    return compiled(
      state,
      jax.tree.map(lambda x: x.reshape(mesh.size, -1, *x.shape[1:]), batch),
    )

  return call


MAPS = {'shard_map': _shard_map, 'pmap': _pmap}


def map_step(step, mesh, how='shard_map'):
  """Compiles a step over the devices of a mesh.

  Args:
    step: (state, batch, axis) -> (state, metrics).
    mesh: from `make_mesh`.
    how: a name of `MAPS`; they give the same numbers.

  Returns:
    (state, this process's batch as numpy arrays) -> (state, metrics). The
    state handed in is donated: use the one that comes back.

  Raises:
    UserError: 'pmap' in several processes.
  """
  return lookup(MAPS, how, 'parallel.map')(step, mesh)
