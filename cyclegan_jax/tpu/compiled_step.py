"""Compilation of a training step for TPUs, and the memory the step needs.

No TPU is needed.
"""

import importlib.util
import math
import os
import re
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.extend.core import jaxprs_in_params
from jax.sharding import Mesh

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.tpu import chips
from cyclegan_jax.training import parallel
from cyclegan_jax.training import state as train_state
from cyclegan_jax.training import step as train_step

_EXAMPLES = 'v4:2x2x1, v5e:4x4, v5p:2x2x1, v6e:2x2'


def make_mesh(topology):
  """Returns a mesh of all chips of a TPU topology, to compile a step for.

  Args:
    topology: kind of chip and chips along each axis, such as 'v5e:4x4'.

  Raises:
    UserError: libtpu is missing or in use, or the topology is unknown.
  """
  chips.find(topology)
  library = os.environ.get('TPU_LIBRARY_PATH')
  if not library and importlib.util.find_spec('libtpu') is None:
    raise UserError(
      "the TPU's compiler is missing: pip install 'cyclegan_jax[tpu]'"
    )
  # The two cores of a v4 chip act as one device, as on real v4 machines.
  two_cores = topology.startswith('v4:')
  options = {'chip_config_name': 'megacore'} if two_cores else {}
  try:
    devices = topologies.get_topology_desc(topology, 'tpu', **options).devices
  except RuntimeError as e:
    raise UserError(_reason(topology, str(e))) from e
  return Mesh(np.array(devices), (parallel.AXIS,))


def _reason(topology, message):
  """Returns a one-line message for an error of libtpu."""
  if 'lockfile' in message or 'already in use' in message:
    lock = os.path.join(tempfile.gettempdir(), 'libtpu_lockfile')
    return (
      'libtpu serves one process at a time and is in use by another one: wait '
      f'for that process; if there is none, remove the file {lock}'
    )
  return (
    f'--topology={topology} is unknown to libtpu: use a topology such as '
    f'{_EXAMPLES} ({" ".join(message.split())})'
  )


def trace(
  method, optimizers, mesh, shapes, *, pool_size=50, ema_decay=0.0, accumulate=1
):
  """Traces a training step, mapped over the chips of a mesh, from shapes only.

  Args:
    method: a `Method` built for TPUs.
    optimizers: {'gen': optax transformation, 'disc': optax transformation}.
    mesh: the mesh of `make_mesh`, or a mesh of real devices.
    shapes: {'a': shape, 'b': shape} of the whole batch of each domain; a shape
      is (batch, height, width, channels).
    pool_size: number of images in each image pool; 0 for no pool.
    ema_decay: decay of the moving average of the generators' weights; 0 for no
      average.
    accumulate: number of parts of a device's batch, which are processed one
      after the other.

  Returns:
    The traced step, as `jax.jit(...).trace` returns it, with `.jaxpr` and
    `.lower()`.

  Raises:
    UserError: the batch size is not a multiple of the number of chips times
      `accumulate`.
  """
  batch_size, least = shapes['a'][0], mesh.size * accumulate
  if batch_size < 1 or batch_size % least:
    times = f' times train.accumulate={accumulate}' if accumulate > 1 else ''
    raise UserError(
      f'--batch={batch_size} is not divisible by the {mesh.size} chips{times}: '
      f'use a multiple of {least}'
    )

  def placed(tree, sharding):
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )

  batch = {d: jax.ShapeDtypeStruct(s, jnp.float32) for d, s in shapes.items()}
  state = jax.eval_shape(
    lambda batch: train_state.create(
      method,
      optimizers,
      jax.random.PRNGKey(0),
      batch,
      pool_size=pool_size,
      ema=ema_decay > 0,
    ),
    batch,
  )
  step = train_step.make_step(
    method,
    optimizers,
    ema_decay=ema_decay,
    accumulate=accumulate,
    platform='tpu',
  )
  return parallel.shard_mapped(step, mesh).trace(
    placed(state, parallel.replicated(mesh)),
    placed(batch, parallel.split(mesh)),
  )


def compile_traced(traced):
  """Compiles a traced step for its TPUs.

  Args:
    traced: the step that `trace` returned.

  Returns:
    The compiled step, a `jax.stages.Compiled`.

  Raises:
    UserError: the step does not fit the memory of a chip.
  """
  try:
    return traced.lower().compile()
  except jax.errors.JaxRuntimeError as e:
    if 'RESOURCE_EXHAUSTED' not in str(e):
      raise
    used = re.search(r'Used \S+ of \S+ \w+', str(e))
    raise UserError(
      f"the step does not fit the chip's memory "
      f'({used[0] if used else " ".join(str(e).split())[:200]}): use a smaller '
      '--batch or more chips'
    ) from e


def memory(compiled):
  """Returns the bytes of memory that a compiled step needs on each chip.

  Args:
    compiled: the step that `compile_traced` returned.

  Returns:
    {'arguments', 'outputs', 'temporaries', 'code', 'total': bytes}. 'outputs'
    leaves out results that overwrite an argument, such as the new state.
  """
  m = compiled.memory_analysis()
  parts = {
    'arguments': m.argument_size_in_bytes,
    # The new state overwrites the old one.
    'outputs': m.output_size_in_bytes - m.alias_size_in_bytes,
    'temporaries': m.temp_size_in_bytes,
    'code': m.generated_code_size_in_bytes,
  }
  return parts | {'total': sum(parts.values())}


def convolution_flops(jaxpr):
  """Returns the number of operations of all convolutions of a jaxpr.

  Each product of a weight and a pixel counts as two operations, a
  multiplication and an addition. Products with the zeros between the pixels of
  a dilated input do not count. The body of a `scan` counts once per iteration.
  For a function that is mapped over devices, the number is that of one device.

  Args:
    jaxpr: a jaxpr, such as `.jaxpr` of a traced step.
  """
  total = 0
  for equation in jaxpr.eqns:
    params, times = equation.params, 1
    if equation.primitive.name == 'conv_general_dilated':
      kernel = equation.invars[1].aval.shape
      # Products per output value: input channels x height x width of a kernel.
      products = math.prod(
        kernel[i] for i in params['dimension_numbers'].rhs_spec[1:]
      )
      products *= equation.outvars[0].aval.size
      total += 2 * products // math.prod(params['lhs_dilation'])
    elif equation.primitive.name == 'scan':
      times = params['length']
    for inner in jaxprs_in_params(params):
      total += times * convolution_flops(inner)
  return total
