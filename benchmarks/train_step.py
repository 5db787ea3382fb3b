"""Times the complete training step, alone or in turn with PyTorch.

  python benchmarks/train_step.py --size=128 --vs=torch

Columns: median and range of the timed steps; images per domain and second;
operations of the convolutions per second (see flops.py), and their share of the
speed of a float32 matrix product on this machine; time until the call returns;
first step, with tracing and compiling; peak memory of the process after the
first step; ratio of the medians (below 1: this project is faster).
"""

import sys
import time

import contenders
import options
import report
from flops import step_flops

from cyclegan_jax.config import program


def main(argv):
  args, work = options.parse(__doc__, argv, devices=True)
  print(report.header(argv), flush=True)
  result = contenders.race(args, work, ours, theirs)
  flops = step_flops(*work) if work else None
  print(_summary(args, flops, result[0].facts))
  print('\n' + report.table(result, args.batch, flops))
  return 1 if result[0].failure else 0


def _summary(args, flops, facts):
  words = [f'Training step at {args.size} px, batch {args.batch}']
  words.append(f'blocks {args.blocks}, width {args.width}, {args.dtype}')
  if 'device' in facts:
    words.append(f'{args.devices} x {facts["device"]}')
  if flops:
    words.append(f'{flops / 1e12:.3g} TFLOP')
  if 'matmul' in facts:
    words.append(f'matrix product {facts["matmul"] / 1e9:.0f} GFLOP/s')
  return '; '.join(words)


def theirs(work, variant):
  """Setup of a contender: a training step in PyTorch.

  Args:
    work: the `options.Work`: image size, batch size and size of the networks.
    variant: a value of `options.VARIANTS`: keyword arguments of
      `torch_cyclegan.trainer`.

  Returns:
    (start, wait, facts), the result of `torch_cyclegan.trainer`: start() starts
    a step, wait() waits for its results, and `facts` is a dict.
  """
  import torch_cyclegan

  return torch_cyclegan.trainer(work, **variant)


def ours(args):
  """Setup of a contender: this project's step, built as by `cyclegan_jax.main`.

  Args:
    args: parsed flags, from `options.parse`.

  Returns:
    (start, wait, facts): functions that start a step and wait for its results,
    and a dict with the facts 'platform' and 'device' of JAX and 'matmul', the
    operations per second of a float32 matrix product on all devices.
  """
  program.quiet()
  import jax

  from cyclegan_jax.training import parallel

  if args.devices > 1:
    jax.config.update('jax_num_cpu_devices', args.devices)
  config = options.config(args)
  mesh = parallel.make_mesh(config.parallel.devices)
  state, step, batch = _build(config, args.size, mesh)

  def start():
    nonlocal state
    state, _ = step(state, batch)

  device = jax.devices()[0]
  # Simulated CPU devices share the cores.
  count = 1 if device.platform == 'cpu' else args.devices
  facts = {
    'platform': device.platform,
    'device': device.device_kind,
    'matmul': count * _matmul_speed(),
  }
  return start, lambda: jax.block_until_ready(state), facts


def _build(config, size, mesh):
  """Returns (first state, step, random batch of `size` pixels) of a config."""
  import jax

  from cyclegan_jax.config.method import build_method
  from cyclegan_jax.config.run import build_optimizers
  from cyclegan_jax.training import optim, parallel
  from cyclegan_jax.training import state as train_state
  from cyclegan_jax.training import step as train_step

  method = build_method(config)
  # The length of an epoch does not matter for the time of a step.
  schedule = optim.schedule(steps_per_epoch=1000, **config.schedule)
  optimizers = build_optimizers(config, schedule)
  local = parallel.local_batch_size(config.train.batch_size, mesh)
  batch = options.random_batch(config, local, size)
  ema_decay = config.train.ema_decay
  state = train_state.create(
    method,
    optimizers,
    jax.random.PRNGKey(config.seed),
    batch,
    pool_size=config.pool_size,
    ema=ema_decay > 0,
  )
  step = parallel.map_step(
    train_step.make_step(method, optimizers, ema_decay=ema_decay),
    mesh,
    config.parallel.map,
    remat=config.generator.remat,
  )
  return parallel.replicate(state, mesh), step, batch


def _matmul_speed(size=2048, times=20):
  """Returns the operations per second of float32 matrix products.

  Args:
    size: side of the matrices.
    times: number of products, of which the fastest counts.
  """
  import jax
  import jax.numpy as jnp

  multiply = jax.jit(jnp.matmul)
  matrix = jnp.ones((size, size), jnp.float32)
  seconds = []
  for _ in range(times):
    begin = time.perf_counter()
    jax.block_until_ready(multiply(matrix, matrix))
    seconds.append(time.perf_counter() - begin)
  return 2 * size**3 / min(seconds)


if __name__ == '__main__':
  program.large_pages()  # as in the commands; also inherited by PyTorch
  sys.exit(program.run(main))
