"""The flags of the benchmarks, and the config they ask for."""

import argparse
import importlib.util
from typing import NamedTuple

import numpy as np

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import cards
from cyclegan_jax.defaults import DEFAULTS, get_config

# Ways to run PyTorch: name -> arguments of `torch_cyclegan.trainer`.
VARIANTS = {
  'eager': {},
  'channels_last': {'channels_last': True},
  'compile': {'compiled': True},
  'bf16': {'bf16': True},
}
# Options that a flag sets.
_FLAGS = {
  'generator.depth': '--blocks',
  'generator.width': '--width',
  'discriminator.width': '--width',
  'train.batch_size': '--batch',
  'parallel.devices': '--devices',
  'dtype': '--dtype',
}
# Options that change what is computed; neither the count of operations nor
# PyTorch follows them.
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
  """What a step computes.

  Attributes:
    size: side of the pictures in pixels.
    batch: pictures of each domain.
    blocks: residual blocks of the generators.
    width: channels of the first layers.
    identity: whether there is an identity loss.
  """

  size: int
  batch: int
  blocks: int
  width: int
  identity: bool


def of_card(name):
  """The config of a recipe card that comes with the package."""
  spec = importlib.util.spec_from_file_location(name, cards.find(name))
  card = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(card)
  return card.get_config()


class _Parser(argparse.ArgumentParser):
  def error(self, message):
    raise UserError(f'{message} (see --help)')


def typed(doc, flags):
  """A parser of plain flags.

  Args:
    doc: the program's docstring, for --help.
    flags: {flag: (default, meaning)}; the default decides the type.
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
  """A parser with the flags that all benchmarks have."""
  result = _Parser(
    description=doc,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )

  def add(name, default, meaning, **how):
    result.add_argument(
      name, default=default, help=f'{meaning} ({default or "none"})', **how
    )

  add('--size', 256, 'side of the pictures in pixels', type=_positive)
  add('--batch', 1, 'pictures of each domain', type=_positive)
  result.add_argument(
    '--blocks',
    type=_count,
    default=0,
    help='residual blocks; 0: 6 below 256 px, else 9, as official (0)',
  )
  add('--width', 64, 'channels of the first layers', type=_positive)
  add('--steps', 5, 'timed steps of each contender', type=_positive)
  add('--dtype', 'float32', 'float32 | bfloat16, of this project')
  add('--vs', None, 'what to alternate with', choices=['torch'])
  add(
    '--variants',
    ','.join(VARIANTS),
    'ways to run PyTorch, separated by commas',
    type=lambda text: text.split(','),
  )
  result.add_argument(
    '--option',
    action='append',
    default=[],
    metavar='KEY=VALUE',
    help='any config option of this project; may be repeated',
  )
  result.set_defaults(devices=1)
  return result


def _count(text, least=0):
  if not text.isdecimal() or int(text) < least:
    raise argparse.ArgumentTypeError(
      f'{text!r} is no whole number of at least {least}'
    )
  return int(text)


def _positive(text):
  return _count(text, 1)


def parse(doc, argv, devices=False):
  """Reads the flags.

  Args:
    doc: the program's docstring, for --help.
    argv: the command line, program first.
    devices: whether there is a flag --devices.

  Returns:
    The flags, and the `Work` they ask for; None if an option asks for another
    than the official one.

  Raises:
    UserError: a flag or option that can't be, or PyTorch is missing.
    SystemExit: after --help.
  """
  flags = parser(doc)
  if devices:
    flags.add_argument(
      '--devices',
      type=_positive,
      default=1,
      help='devices of this project (1); more than one CPU is simulated',
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
      f'--option={changed[0]} changes what is computed, which PyTorch does not '
      f'follow: leave out --vs=torch'
    )


def config(args):
  """The config that parsed flags ask for.

  Raises:
    UserError: an option that does not exist or can't have the value.
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
  """{'a', 'b'}: `count` random images of `size` pixels as numpy arrays."""
  rng = np.random.default_rng(0)
  channels = {'a': config.data.channels_a, 'b': config.data.channels_b}
  return {
    domain: rng.uniform(-1, 1, (count, size, size, n)).astype(np.float32)
    for domain, n in channels.items()
  }


def _option(text):
  """(key, value) of KEY=VALUE."""
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
