"""Contenders of gpu.py: steps and translations on one device, many per call.

A setup returns (start, wait, facts), as `contenders.Contender` requires. The
first two calls of start() start one step each, later calls many steps: they are
queued as in training, so that the device does not wait for the host in between.
"""

import os
import pathlib
import time
from functools import partial

import options

# Precision of float32 products: name in the tables -> name in JAX.
JAX_PRECISIONS = {'float32': 'highest', 'tf32': 'default'}
# name in the tables -> arguments of `torch_cyclegan.trainer`
TORCH = {
  'eager tf32': {},
  'channels_last bfloat16': {'channels_last': True, 'bf16': True},
  'torch.compile bfloat16': {
    'channels_last': True,
    'bf16': True,
    'compiled': True,
  },
}


# Methods beside CycleGAN: name -> recipe card.
CARDS = {
  'CUT': 'horse2zebra_cut',
  'FastCUT': 'horse2zebra_fastcut',
  'DCLGAN': 'horse2zebra_dclgan',
}
# Variants of this project to compare: name -> XLA_FLAGS. LOOP compiles the
# residual blocks as a loop instead of one by one. NORM uses the gradient of
# instance norm that CPUs and TPUs use. MIRROR pads by reflection with one
# gather instead of concatenated slices.
LOOP = 'blocks in a loop'
NORM = 'norm by hand'
MIRROR = 'mirror by gather'
EXPERIMENTS = {
  LOOP: '',
  NORM: '',
  MIRROR: '',
  **dict.fromkeys(CARDS, ''),
  'all in command buffers': '--xla_gpu_enable_command_buffer=FUSION,CUBLAS,'
  'CUBLASLT,CUDNN,CUSTOM_CALL,CONDITIONAL,WHILE,DYNAMIC_SLICE_FUSION '
  '--xla_gpu_graph_min_graph_size=1 --xla_gpu_command_buffer_unroll_loops=true',
}


def queued(step, wait, facts, steps, profile=None):
  """Returns the result (start, wait, facts) of a setup with `steps` per call.

  Args:
    step: function () that starts one step.
    wait: function () that waits for all started steps.
    facts: dict, to which the first call of `wait` adds facts.
    steps: number of steps per call of start(), from the third call on.
    profile: function () that returns a context. The third call of start() runs
      two further steps in it. None = no profile.
  """
  calls = 0

  def start():
    nonlocal calls
    calls += 1
    if calls == 3 and profile:
      with profile():
        for _ in range(2):
          step()
        wait()
    for _ in range(steps if calls > 2 else 1):
      step()

  return start, wait, facts


def ours(args, kind, precision, steps, profile=None, experiment=None):
  """Setup of a contender: this project.

  Args:
    args: `gpu.Work`, the size of the work.
    kind: 'step' or 'translation'.
    precision: 'float32', 'tf32' or 'bfloat16'.
    steps: number of steps per call of start(), from the third call on.
    profile: folder to write a profile of two steps and the compiled program
      to, or None.
    experiment: name in `EXPERIMENTS`, or None.

  Returns:
    (start, wait, facts): functions that start steps and wait for them, and a
    dict. Facts: 'compile': seconds to compile, 'peak': peak GPU memory in bytes
    or None.
  """
  _use_flags(EXPERIMENTS.get(experiment, ''))
  import jax

  if experiment == LOOP:
    from cyclegan_jax.nets.conv import forms

    forms.loops = lambda platform, x: True
  if experiment == NORM:
    from cyclegan_jax.nets import layers

    layers.BY_HAND += ('gpu',)
  if experiment == MIRROR:
    _mirror_by_gather()

  jax.config.update(
    'jax_default_matmul_precision', JAX_PRECISIONS.get(precision, 'default')
  )
  dtype = 'bfloat16' if precision == 'bfloat16' else 'float32'
  config = _config(args, dtype, CARDS.get(experiment))
  make = {'step': _jax_step, 'translation': _jax_translation}[kind]
  begin = time.perf_counter()
  compiled, step, results = make(config, args)
  facts = {'compile': time.perf_counter() - begin}

  def wait():
    jax.block_until_ready(results())
    if 'peak' not in facts:
      memory = jax.local_devices()[0].memory_stats() or {}
      facts['peak'] = memory.get('peak_bytes_in_use')

  def profiled():
    return jax.profiler.trace(profile)

  if profile:
    folder = pathlib.Path(profile)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'program.txt').write_text(compiled.as_text())
  return queued(step, wait, facts, steps, profiled if profile else None)


def _mirror_by_gather():
  import jax
  import jax.numpy as jnp

  from cyclegan_jax.nets import layers

  joined = layers._mirror

  @partial(jax.custom_vjp, nondiff_argnums=(1, 2))
  def mirror(x, rows, columns):
    for axis, pads in ((1, rows), (2, columns)):
      places = layers._mirrored_places(x.shape[axis], *pads)
      x = jnp.take(x, places, axis=axis, mode='clip')
    return x

  def forward(x, rows, columns):
    return mirror(x, rows, columns), x

  def backward(rows, columns, x, grad):
    return jax.vjp(lambda x: joined(x, rows, columns), x)[1](grad)

  mirror.defvjp(forward, backward)
  layers._mirror = mirror


def _config(args, dtype, card=None):
  """Returns the default config, or a recipe card's, at the size of a `Work`."""
  config = options.of_card(card) if card else options.get_config()
  config.update_from_flattened_dict(
    {
      'generator.name': 'resnet',
      'generator.depth': args.blocks,
      'generator.width': args.width,
      'discriminator.width': args.width,
      'train.batch_size': args.batch,
      'dtype': dtype,
    }
  )
  return config


def _jax_step(config, args):
  import jax

  from cyclegan_jax.config.method import build_method
  from cyclegan_jax.config.run import build_optimizers
  from cyclegan_jax.training import optim, parallel
  from cyclegan_jax.training import state as train_state
  from cyclegan_jax.training import step as train_step

  mesh = parallel.make_mesh(1)
  method = build_method(config)
  schedule = optim.schedule(steps_per_epoch=1000, **config.schedule)
  optimizers = build_optimizers(config, schedule)
  batch = jax.device_put(
    options.random_batch(config, args.batch, args.size), parallel.split(mesh)
  )
  state = parallel.replicate(
    train_state.create(
      method,
      optimizers,
      jax.random.PRNGKey(0),
      batch,
      pool_size=config.pool_size,
    ),
    mesh,
  )
  compiled = (
    parallel.shard_mapped(train_step.make_step(method, optimizers), mesh)
    .lower(state, batch)
    .compile()
  )

  def step():
    nonlocal state
    state, _ = compiled(state, batch)

  return compiled, step, lambda: state


def _jax_translation(config, args):
  import jax

  from cyclegan_jax.config.method import build_method

  method = build_method(config)
  batch = jax.device_put(options.random_batch(config, args.batch, args.size))
  params = method.init(jax.random.PRNGKey(0), batch)
  compiled = (
    jax.jit(method.translate, static_argnums=2)
    .lower(params, batch['a'], 'a2b')
    .compile()
  )
  fake = None

  def step():
    nonlocal fake
    fake = compiled(params, batch['a'])

  return compiled, step, lambda: fake


def theirs(args, kind, variant, steps, device):
  """Setup of a contender: PyTorch.

  Args:
    args: `gpu.Work`, the size of the work.
    kind: 'step' or 'translation'.
    variant: name in `TORCH`.
    steps: number of steps per call of start(), from the third call on.
    device: 'cuda' or 'cpu'.

  Returns:
    (start, wait, facts): functions that start steps and wait for them, and a
    dict. Facts: 'compile': seconds of setup and first step, 'peak': peak GPU
    memory in bytes, None on the CPU.
  """
  import torch
  import torch_cyclegan

  work = options.Work(
    args.size, args.batch, args.blocks, args.width, identity=True
  )
  make = {
    'step': torch_cyclegan.trainer,
    'translation': torch_cyclegan.translator,
  }[kind]
  begin = time.perf_counter()
  step, _, facts = make(work, **TORCH[variant], device=device)

  def wait():
    if device == 'cuda':
      torch.cuda.synchronize()
    if 'peak' not in facts:
      facts.pop('fake', None)
      facts['compile'] = time.perf_counter() - begin
      facts['peak'] = (
        torch.cuda.max_memory_allocated() if device == 'cuda' else None
      )

  return queued(step, wait, facts, steps)


def card(size):
  """Setup of a contender without steps, which measures the GPU.

  Args:
    size: side of the matrices to multiply.

  Returns:
    (start, wait, facts); start() and wait() do nothing. Facts: 'name' and
    'platform' of the device, 'products': {precision: operations per second of
    a matrix product}, 'copy': bytes read and written per second.
  """
  import jax
  import jax.numpy as jnp

  def fastest(run, *args, times=10):
    run(*args).block_until_ready()
    seconds = []
    for _ in range(3):
      begin = time.perf_counter()
      for _ in range(times):
        result = run(*args)
      result.block_until_ready()
      seconds.append((time.perf_counter() - begin) / times)
    return min(seconds)

  products = {}
  key = jax.random.PRNGKey(0)
  for name in ('bfloat16', *JAX_PRECISIONS):
    dtype = jnp.bfloat16 if name == 'bfloat16' else jnp.float32
    x, y = jax.random.normal(key, (2, size, size), dtype)
    precision = JAX_PRECISIONS.get(name, 'default')
    multiply = jax.jit(lambda x, y, p=precision: jnp.matmul(x, y, precision=p))
    products[name] = 2 * size**3 / fastest(multiply, x, y)
  big = jax.random.normal(key, (8 * size, size), jnp.float32)
  seconds = fastest(jax.jit(lambda x: x + 1), big)
  facts = {
    'name': jax.devices()[0].device_kind,
    'platform': jax.devices()[0].platform,
    'products': products,
    'copy': 2 * big.nbytes / seconds,
  }
  return (lambda: None), (lambda: None), facts


def _use_flags(flags):
  """Adds XLA flags to the environment; must be called before importing JAX."""
  there = os.environ.get('XLA_FLAGS', '')
  os.environ['XLA_FLAGS'] = f'{there} {flags}'.strip()


def digest(args, steps, flags=''):
  """Setup of a contender without steps, which trains twice and compares bits.

  Args:
    args: `gpu.Work`, the size of the work.
    steps: number of training steps.
    flags: XLA flags to add.

  Returns:
    (start, wait, facts); start() and wait() do nothing. Facts: 'digests', the
    two digests of the state after `steps` steps, from two runs of one compiled
    program with the same first state and batch.
  """
  _use_flags(flags)
  import hashlib

  import jax

  config = _config(args, 'bfloat16')
  digests = []
  compiled, _, results = _jax_step(config, args)
  batch = options.random_batch(config, args.batch, args.size)
  first = jax.device_get(results())
  for _ in range(2):
    from cyclegan_jax.training import parallel

    mesh = parallel.make_mesh(1)
    state = parallel.replicate(first, mesh)
    there = jax.device_put(batch, parallel.split(mesh))
    for _ in range(steps):
      state, _ = compiled(state, there)
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(state)):
      found.update(leaf.tobytes())
    digests.append(found.hexdigest()[:16])
  return (lambda: None), (lambda: None), {'digests': digests}
