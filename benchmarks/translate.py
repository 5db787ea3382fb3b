"""Times the translation of images, alone or in turn with PyTorch.

  python benchmarks/translate.py --size=256 --vs=torch

A step is one forward pass of a generator; train_step.py explains the columns.
PyTorch uses the same weights, from an official .pth file, and the same images.
"""

import functools
import pathlib
import sys
import tempfile

import contenders
import numpy as np
import options
import report

from cyclegan_jax.config import program


def main(argv):
  args, work = options.parse(__doc__, argv)
  print(report.header(argv), flush=True)
  with tempfile.TemporaryDirectory() as folder:
    weights = pathlib.Path(folder) / 'latest_net_G_A.pth'
    if args.vs:
      _write_weights(args, weights)
    result = contenders.race(
      args, work, ours, functools.partial(theirs, weights=weights)
    )
  print(
    f'Translation at {args.size} px, batch {args.batch}; blocks {args.blocks}, '
    f'width {args.width}, {args.dtype}'
  )
  print('\n' + report.table(result, args.batch))
  for other in result[1:]:
    if 'fake' in other.facts:
      apart = np.abs(other.facts['fake'] - result[0].facts['fake']).max()
      print(f'{other.name}: images differ by at most {apart:.1e}')
  return 1 if result[0].failure else 0


def _write_weights(args, path):
  """Writes the generator weights of `ours` to an official .pth file."""
  program.quiet()
  from cyclegan_jax import pth

  config = options.config(args).generator.to_dict()
  _, _, params = _drawn(args)
  state = pth.export('generator', config, params['gen']['a2b'])
  pth.write(path, state)


def _drawn(args):
  """Returns (method, images to translate, parameters); always the same."""
  import jax

  from cyclegan_jax.config.method import build_method

  config = options.config(args)
  # Larger than in training, so that the outputs are not close to zero.
  config.generator.init_gain = 0.1
  method = build_method(config)
  batch = options.random_batch(config, args.batch, args.size)
  return method, batch['a'], method.init(jax.random.PRNGKey(config.seed), batch)


def theirs(work, variant, weights):
  """Setup of a contender: a translation in PyTorch.

  Args:
    work: the `options.Work`: image size, batch size and size of the networks.
    variant: a value of `options.VARIANTS`: keyword arguments of
      `torch_cyclegan.translator`.
    weights: path of the official .pth file.

  Returns:
    (start, wait, facts), the result of `torch_cyclegan.translator`: start()
    starts a step, wait() waits for its results, and `facts` is a dict.
  """
  import torch_cyclegan

  return torch_cyclegan.translator(work, **variant, weights=weights)


def ours(args):
  """Setup of a contender: this project's compiled translation.

  Args:
    args: parsed flags, from `options.parse`.

  Returns:
    (start, wait, facts): functions that start a step and wait for its results,
    and a dict with the facts 'platform' of JAX and, after the first step,
    'fake', the translation as an array [batch, height, width, channels].
  """
  program.quiet()
  import jax

  method, pictures, params = _drawn(args)
  translate = jax.jit(method.translate, static_argnums=2)
  facts = {'platform': jax.devices()[0].platform}
  fake = None

  def start():
    nonlocal fake
    fake = translate(params, pictures, 'a2b')

  def wait():
    jax.block_until_ready(fake)
    if 'fake' not in facts:  # filled by the first translation
      facts['fake'] = np.asarray(fake)

  return start, wait, facts


if __name__ == '__main__':
  program.large_pages()  # as in the commands; also inherited by PyTorch
  sys.exit(program.run(main))
