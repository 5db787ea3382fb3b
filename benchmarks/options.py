"""Flags of the benchmarks, and the config that these flags make."""

import argparse
import importlib.util
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import cards
from cyclegan_jax.defaults import DEFAULTS, get_config

# Variants of PyTorch: name -> arguments of `torch_cyclegan.trainer`.
VARIANTS = {
  'eager': {},
  'channels_last': {'channels_last': True},
  'compile': {'compiled': True},
  'bf16': {'bf16': True},
}
# Options that have a flag of their own.
_FLAGS = {
  'generator.depth': '--blocks',
  'generator.width': '--width',
  'discriminator.width': '--width',
  'train.batch_size': '--batch',
  'parallel.devices': '--devices',
  'dtype': '--dtype',
}
# Options (or beginnings of their names) that change the computation. The count
# of operations and the PyTorch contender do not support them.
_WORK = (
  'method',
  'generator.name',
  'generator.norm',
  'generator.dropout',
  'generator.upsampling',
  'generator.downsampling',
  'generator.padding',
  'discriminator.name',
  'discriminator.downsampling',
  'discriminator.depth',
  'discriminator.norm',
  'data.channels',
  'loss.adversarial',
  'loss.cycle',
  'loss.nce',
  'contrast.',
  'optim.name',
  'train.ema_decay',
)


class Work(NamedTuple):
  """Size of the computation of a step.

  Attributes:
    size: side of the images in pixels.
    batch: number of images per domain.
    blocks: number of residual blocks of the generators.
    width: number of channels of the first layers.
    identity: True if there is an identity loss.
  """

  size: int
  batch: int
  blocks: int
  width: int
  identity: bool


def of_card(name):
  """Returns the config of a recipe card of the package.

  Args:
    name: name of the recipe card, such as 'horse2zebra_cut'.
  """
  spec = importlib.util.spec_from_file_location(name, cards.find(name))
  card = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(card)
  return card.get_config()


class _Parser(argparse.ArgumentParser):
  def error(self, message):
    raise UserError(f'{message} (see --help)')


def typed(doc, flags):
  """Returns an `argparse` parser of flags with values.

  Args:
    doc: docstring of the program, shown by --help.
    flags: {'--flag': (default, meaning)}; the type of a value is the type of
      the default.
  """
  result = _Parser(
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  for name, (default, meaning) in flags.items():
    result.add_argument(
      name, default=default, type=type(default), help=f'{meaning} ({default})'
    )
  return result


def parser(doc):
  """Returns an `argparse` parser with the flags common to the benchmarks.

  Args:
    doc: docstring of the program, shown by --help.
  """
  result = _Parser(
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )

  def add(name, default, meaning, **how):
    result.add_argument(
      name, default=default, help=f'{meaning} ({default or "none"})', **how
    )

  add('--size', 256, 'side of the images in pixels', type=_positive)
  add('--batch', 1, 'images per domain', type=_positive)
  result.add_argument(
    '--blocks',
    type=_count,
    default=0,
    help='residual blocks; 0 = official choice, 6 below 256 px, else 9 (0)',
  )
  add('--width', 64, 'number of channels of the first layers', type=_positive)
  add('--steps', 5, 'timed steps per contender', type=_positive)
  add('--dtype', 'float32', 'type of this project: float32 | bfloat16')
  add('--vs', None, 'contender to compare with', choices=['torch'])
  add(
    '--variants',
    ','.join(VARIANTS),
    'variants of PyTorch, separated by commas',
    type=lambda text: text.split(','),
  )
  result.add_argument(
    '--option',
    action='append',
    default=[],
    metavar='KEY=VALUE',
    help='a config option of this project; may be repeated',
  )
  result.set_defaults(devices=1)
  return result


def _count(text, least=0):
  if not text.isdecimal() or int(text) < least:
    raise argparse.ArgumentTypeError(
      f'{text!r} is not a whole number of at least {least}'
    )
  return int(text)


def _positive(text):
  return _count(text, 1)


def parse(doc, argv, devices=False):
  """Parses the flags of a benchmark.

  Args:
    doc: docstring of the program, shown by --help.
    argv: the command line, program name first.
    devices: if True, the program has the flag --devices.

  Returns:
    (parsed flags, `Work`). The `Work` is None if an --option changes the
    computation to another one than the official code's.

  Raises:
    UserError: an invalid flag or option; or --vs=torch without PyTorch, or with
      an --option that PyTorch does not support.
    SystemExit: after --help.
  """
  flags = parser(doc)
  if devices:
    flags.add_argument(
      '--devices',
      type=_positive,
      default=1,
      help='devices of this project; several CPU devices are simulated (1)',
    )
  args = flags.parse_args(argv[1:])
  args.blocks = args.blocks or (6 if args.size < 256 else 9)
  if args.size % 4:
    raise UserError(f'--size={args.size} must be a multiple of 4')
  for name in args.variants:
    lookup(VARIANTS, name, '--variants')
  loss = config(args).loss
  changed = [x for x in args.option if x.startswith(_WORK)]
  identity = bool(loss.identity_a), bool(loss.identity_b)
  if identity[0] != identity[1]:
    changed.append('loss.identity')
  if args.vs:
    _check_torch(changed)
  work = Work(args.size, args.batch, args.blocks, args.width, all(identity))
  return args, None if changed else work


def _check_torch(changed):
  if importlib.util.find_spec('torch') is None:
    raise UserError('--vs=torch needs PyTorch: pip install torch')
  if changed:
    raise UserError(
      f'--option={changed[0]} changes the computation, which the PyTorch '
      f'contender does not support: leave out --vs=torch'
    )


def config(args):
  """Returns the config of parsed flags.

  Args:
    args: parsed flags, from `parse`.

  Raises:
    UserError: an --option that does not exist, has a flag of its own, or has a
      value of the wrong type.
  """
  result = get_config()
  result.update_from_flattened_dict(
    {
      'generator.name': 'resnet',
      'generator.depth': args.blocks,
      'generator.width': args.width,
      'discriminator.width': args.width,
      'train.batch_size': args.batch,
      'parallel.devices': args.devices,
      'dtype': args.dtype,
    }
  )
  result.update_from_flattened_dict(dict(map(_option, args.option)))
  return result


def random_batch(config, count, size):
  """Returns a batch of random images, always the same.

  Args:
    config: config, whose data.channels_a and data.channels_b are used.
    count: number of images per domain.
    size: side of the images in pixels.

  Returns:
    {'a' and 'b': float32 [count, size, size, channels] in [-1, 1]}.
  """
  rng = np.random.default_rng(0)
  channels = {'a': config.data.channels_a, 'b': config.data.channels_b}
  return {
    domain: rng.uniform(-1, 1, (count, size, size, n)).astype(np.float32)
    for domain, n in channels.items()
  }


def _option(text):
  """Parses KEY=VALUE and returns (key, value of the option's type)."""
  key, _, value = text.partition('=')
  default = lookup(DEFAULTS, key, '--option')
  if key in _FLAGS:
    raise UserError(f'--option={text}: use {_FLAGS[key]}')
  try:
    if isinstance(default, bool):
      return key, {'True': True, 'False': False}[value.capitalize()]
    return key, type(default)(value)
  except (KeyError, ValueError) as e:
    raise UserError(
      f'--option={text} must be of type {type(default).__name__}'
    ) from e
