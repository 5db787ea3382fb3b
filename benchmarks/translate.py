"""Times the translation of pictures, alone or in turn with PyTorch.

  python benchmarks/translate.py --size=256 --vs=torch

One forward pass of a generator; the columns are those of train_step.py.
"""

import sys

import contenders
import options
import report

from cyclegan_jax import cli


def main(argv):
  args, work = options.parse(__doc__, argv)
  print(report.header(argv), flush=True)
  result = contenders.race(args, work, ours, theirs)
  print(
    f'Translation at {args.size} px, batch {args.batch}; blocks {args.blocks}, '
    f'width {args.width}, {args.dtype}'
  )
  print('\n' + report.table(result, args.batch))
  return 1 if result[0].failure else 0


def theirs(work, variant):
  """A contender's setup: PyTorch."""
  import torch_cyclegan

  return torch_cyclegan.translator(work, **variant)


def ours(args):
  """A contender's setup: this project's compiled translation."""
  cli.quiet()
  import jax

  from cyclegan_jax import build

  config = options.config(args)
  method = build.build_method(config)
  batch = options.random_batch(config, args.batch, args.size)
  params = method.init(jax.random.PRNGKey(config.seed), batch)
  translate = jax.jit(method.translate, static_argnums=2)
  fake = None

  def start():
    nonlocal fake
    fake = translate(params, batch['a'], 'a2b')

  facts = {'platform': jax.devices()[0].platform}
  return start, lambda: jax.block_until_ready(fake), facts


if __name__ == '__main__':
  cli.large_pages()  # as the programs do; PyTorch's processes get them too
  sys.exit(cli.run(main))
