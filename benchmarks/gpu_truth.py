"""Writes outputs and gradients of all computations of a device as arrays.

  python benchmarks/gpu_truth.py --precision=highest --output=FILE.npz

A process computes on one platform (JAX_PLATFORMS); `differences` compares the
arrays of two platforms. `gpu.py` calls this program and `differences`.
"""

import argparse
import concurrent.futures
import os
import pathlib
import sys
import time
from functools import partial

import numpy as np

from cyclegan_jax.common import files

# Precisions of the arithmetic, see `main`.
PRECISIONS = ('highest', 'default', 'bfloat16')
STEPS = 20
RATE = 1e-5  # learning rate of the steps
# Share of the largest norm of a case. Arrays of smaller norm consist mostly of
# rounding errors.
SMALLEST = 1e-3
SIDE = 64  # side of the images, in pixels
WIDTH = 8


def differences(truth, other):
  """Returns the largest relative difference per case.

  Args:
    truth: {'case/array': array}, such as the content of an .npz file.
    other: {'case/array': array} of another platform or precision.

  Returns:
    {case: maximum over its arrays of norm(other - truth) / norm(truth)}, with
    L2 norms. The denominator is at least `SMALLEST` times the largest norm of
    the case, because small arrays, such as the gradient of a bias that a
    normalisation layer cancels, consist only of rounding errors.
  """
  cases = {}
  for name in truth:
    cases.setdefault(name.split('/')[0], []).append(name)
  result = {}
  for case, names in cases.items():
    norms = {x: np.linalg.norm(truth[x].astype(np.float64)) for x in names}
    least = SMALLEST * max(norms.values())
    result[case] = max(
      float(
        np.linalg.norm(other[x].astype(np.float64) - truth[x])
        / max(norms[x], least, 1e-30)
      )
      for x in names
    )
  return result


def main(argv):
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--precision', choices=PRECISIONS, default='highest')
  parser.add_argument('--output', required=True)
  parser.add_argument(
    '--only',
    default='',
    help='beginnings of the names of cases to run, separated by commas',
  )
  parser.add_argument('--seconds', type=float, default=3600.0)
  args = parser.parse_args(argv[1:])
  import jax

  if args.precision != 'bfloat16':
    jax.config.update('jax_default_matmul_precision', args.precision)
  found, failures = {}, []
  only = tuple(args.only.split(','))
  cases = {
    k: x for k, x in _cases(args.precision).items() if k.startswith(only)
  }
  # Threads, because compiling takes most of the time and can run in parallel.
  pool = concurrent.futures.ThreadPoolExecutor(8)
  futures = {name: pool.submit(case) for name, case in cases.items()}
  end = time.monotonic() + args.seconds
  for name, future in futures.items():
    try:
      left = max(0.0, end - time.monotonic())
      for key, array in _flat(future.result(left)).items():
        found[f'{name}/{key}'] = array
    except Exception as e:  # a failed case is a result, too
      words = ' '.join(f'{name}: {type(e).__name__}: {e}'.split())
      failures.append(words[:300])
      print(f'failed: {words[:300]}', file=sys.stderr, flush=True)
  found['failures'] = np.array(failures, dtype=np.str_)
  with files.made(pathlib.Path(args.output)) as path, path.open('wb') as file:
    np.savez(file, **found)
  os._exit(1 if failures else 0)  # does not wait for unfinished cases


def _flat(tree):
  """Returns {path of a leaf: float32 array} of a tree."""
  import jax

  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {
    jax.tree_util.keystr(path): np.asarray(leaf).astype(np.float32)
    for path, leaf in leaves
  }


def _cases(precision):
  """Returns {name of a case: function () that returns a tree of arrays}.

  The cases are all networks, forms of convolutions, adversarial losses and
  methods (some training steps of each).
  """
  import jax.numpy as jnp

  from cyclegan_jax import nets
  from cyclegan_jax.methods import METHODS
  from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES
  from cyclegan_jax.nets.conv import forms

  dtype = jnp.bfloat16 if precision == 'bfloat16' else jnp.float32
  cases = {}
  for name in nets.GENERATORS:
    cases[f'generator {name}'] = partial(_network, 'generator', name, dtype)
  for norm in ('instance_affine', 'batch', 'batch_frozen', 'none'):
    cases[f'generator resnet, norm {norm}'] = partial(
      _network, 'generator', 'resnet', dtype, norm=norm
    )
  for upsampling in ('resize', 'blur'):
    cases[f'generator resnet, upsampling {upsampling}'] = partial(
      _network, 'generator', 'resnet', dtype, upsampling=upsampling
    )
  cases['generator resnet, downsampling blur'] = partial(
    _network, 'generator', 'resnet', dtype, downsampling='blur'
  )
  for name in nets.DISCRIMINATORS:
    cases[f'discriminator {name}'] = partial(
      _network, 'discriminator', name, dtype
    )
  cases['discriminator patchgan, downsampling blur'] = partial(
    _network, 'discriminator', 'patchgan', dtype, downsampling='blur'
  )
  for name, form in forms.FORMS.items():
    cases[f'convolutions, form {name}'] = partial(_convolutions, form, dtype)
  for name in ADVERSARIAL_LOSSES:
    cases[f'loss {name}'] = partial(_loss, name)
  for name in METHODS:
    cases[f'{STEPS} steps of {name}'] = partial(_steps, name, dtype)
  return cases


# (kernel size, (stride, padding, dilation)) of all convolutions of the networks
_GEOMETRIES = [
  (7, (1, (0, 0), 1)),
  (3, (1, (0, 0), 1)),
  (3, (2, (1, 1), 1)),
  (3, (1, (1, 2), 2)),
  (4, (2, (1, 1), 1)),
  (4, (1, (1, 1), 1)),
  (4, (1, (2, 2), 2)),
  (1, (1, (0, 0), 1)),
]


def _network(kind, name, dtype, **options):
  """Returns the output of a network and its gradients.

  Args:
    kind: 'generator' or 'discriminator'.
    name: name in `nets.GENERATORS` or `nets.DISCRIMINATORS`.
    dtype: type of the arithmetic.
    **options: further options of the network.

  Returns:
    {'output', 'gradients': (by the parameters, by the images)} of a weighted
    mean of the output.
  """
  import jax
  import jax.numpy as jnp

  from cyclegan_jax import nets

  generator = kind == 'generator'
  table = nets.GENERATORS if generator else nets.DISCRIMINATORS
  depth = {'resnet': 3, 'unet': 3}.get(name, 0) if generator else 0
  make = nets.constructor(
    table, name, kind, width=WIDTH, depth=depth, dtype=dtype, **options
  )
  net = make(out_channels=3) if generator else make()
  rng = np.random.default_rng(0)
  images = rng.uniform(-1, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
  shapes = jax.eval_shape(net.init, jax.random.PRNGKey(0), images)['params']
  params = jax.tree_util.tree_map_with_path(partial(_draw, rng), shapes)
  output = jax.eval_shape(partial(nets.apply, net), params, images)
  weights = rng.normal(size=output.shape).astype(np.float32)

  @jax.jit
  def run(params, images):
    def loss(params, images):
      output = nets.apply(net, params, images)
      return jnp.sum(weights * output) / weights.size, output

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, images)

  (_, output), gradients = run(params, images)
  return {'output': output, 'gradients': gradients}


def _draw(rng, path, shape):
  """Draws a parameter so that signals keep their size through the network.

  Args:
    rng: NumPy random generator.
    path: path of the parameter in the tree.
    shape: `jax.ShapeDtypeStruct` of the parameter.
  """
  drawn = 0.2 * rng.normal(size=shape.shape).astype(np.float32)
  if path[-1].key in ('scale', 'var'):
    return 1 + np.abs(drawn)
  if path[-1].key == 'kernel':
    return (drawn * 5 / np.sqrt(np.prod(shape.shape[:-1]))).astype(np.float32)
  return drawn


def _convolutions(form, dtype):
  """Returns the outputs and gradients of a form of convolution, per geometry.

  All geometries are computed by one compiled program.
  """
  import jax
  import jax.numpy as jnp

  from cyclegan_jax.nets.conv.plain import Geometry, plain

  rng = np.random.default_rng(0)
  x = jnp.array(rng.normal(size=(2, 36, 36, 64)), dtype)
  kernels, grads = {}, {}
  for size, geometry in _GEOMETRIES:
    outputs = 3 if size == 7 else 64  # the TPU's form needs few outputs
    name = f'{size}x{size} {geometry}'
    # Scaled so that the outputs of all geometries have the same size.
    kernel = rng.normal(size=(size, size, 64, outputs)) / size / 8
    kernels[name] = jnp.array(kernel, dtype)
    shape = jax.eval_shape(
      partial(plain, geometry=Geometry(*geometry)), x, kernels[name]
    ).shape
    grads[name] = jnp.array(rng.normal(size=shape), dtype)

  @jax.jit
  def run(x, kernels, grads):
    made = {}
    for size, geometry in _GEOMETRIES:
      name = f'{size}x{size} {geometry}'
      apply = partial(form, geometry=Geometry(*geometry))
      output, gradients = jax.vjp(apply, x, kernels[name])
      made[name] = output, *gradients(grads[name])
    return made

  return run(x, kernels, grads)


def _loss(name):
  """Returns an adversarial loss and its gradients by the scores."""
  import jax

  from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES

  loss = ADVERSARIAL_LOSSES[name]
  rng = np.random.default_rng(0)
  real, fake = rng.normal(size=(2, 4, 30, 30, 1)).astype(np.float32)
  return {
    'generator': jax.jit(jax.value_and_grad(loss.generator))(fake),
    'discriminator': jax.jit(jax.value_and_grad(loss.discriminator, (0, 1)))(
      real, fake
    ),
  }


def _steps(name, dtype):
  """Trains a method for `STEPS` steps of plain gradient descent.

  Returns:
    {'gradients': sums of the gradients, 'losses': {name: array [steps]},
    'translations': {direction: image}}.
  """
  import jax

  tests = pathlib.Path(__file__).resolve().parent.parent / 'tests'
  if str(tests) not in sys.path:
    sys.path.append(str(tests))
  import tiny

  from cyclegan_jax.training import parallel
  from cyclegan_jax.training import step as train_step

  method = tiny.method(
    name,
    make_generator=tiny.generator(dtype=dtype),
    make_discriminator=tiny.discriminator(dtype=dtype),
  )
  # SGD, because Adam turns gradients that are only rounding errors into full
  # steps, and larger changes of these small networks are chaotic: on one CPU,
  # two forms of a convolution differ by 7e-2 after 20 steps of Adam.
  optimizers = tiny.optimizers('sgd', RATE)
  mesh = parallel.make_mesh(1)
  first = tiny.create(method, optimizers)
  before = jax.device_get(first.params)
  state = parallel.replicate(first, mesh)
  step = parallel.map_step(
    train_step.make_step(method, optimizers, ema_decay=0.9), mesh
  )
  metrics = []
  for _ in range(STEPS):
    state, values = step(state, tiny.batch())
    metrics.append(values)
  translate = jax.jit(method.translate, static_argnums=2)
  params = state.translation_params()
  after = jax.device_get(state.params)
  return {
    'gradients': jax.tree.map(lambda x, y: (x - y) / RATE, before, after),
    'losses': {k: np.array([float(m[k]) for m in metrics]) for k in metrics[0]},
    'translations': {
      d: translate(params, tiny.batch(99)[d[0]], d) for d in method.directions
    },
  }


if __name__ == '__main__':
  sys.exit(main(sys.argv))
