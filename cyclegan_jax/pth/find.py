"""Recognition of the official network of a state_dict by its weights' names."""

import itertools

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.pth.official import FILTER

# Depths that are accepted; a file could claim any depth.
_DEPTHS = {
  'resnet': range(1, 101),
  'unet': range(2, 13),
  'patchgan': range(1, 13),
  'pixelgan': range(1),
}
_DROPOUT = 0.5  # rate in the official code


def find(names, file):
  """Returns the official network whose weights have the given names.

  Args:
    names: names of the weights in the state_dict, a collection.
    file: the file of the weights, for messages.

  Returns:
    (kind, options): kind is 'generator' or 'discriminator'; options is a dict
    of the options in the config's section of that name that the names of the
    weights determine: name, depth and, where they apply, dropout, downsampling
    and upsampling.

  Raises:
    UserError: the names do not belong to an official network.
  """
  forms = {
    'net.0.weight': ('discriminator', _pixelgan),
    'model.model.0.weight': ('generator', _unet),
    'model.1.weight': ('generator', _resnet),
    'model.0.weight': ('discriminator', _patchgan),
  }
  for weight, (kind, options) in forms.items():
    if weight in names:
      found = options(names)
      if found.get('depth', 0) in _DEPTHS[found['name']]:
        return kind, found
      break
  raise UserError(
    f'{file} holds no official network: its first weight is '
    f'{ascii(next(iter(names))[:80])}'
  )


def _pixelgan(names):
  del names
  return {'name': 'pixelgan', 'depth': 0}


def _patchgan(names):
  blurs = any(name.endswith(f'.{FILTER.name}') for name in names)
  if blurs:  # each halving has one more entry, the blur
    depth = _count(names, lambda i: f'model.{4 * i + 3}.weight')
  else:
    depth = _count(names, lambda i: f'model.{3 * i + 2}.weight') - 1
  downsampling = 'blur' if blurs else 'stride'
  return {'name': 'patchgan', 'depth': depth, 'downsampling': downsampling}


def _unet(names):
  levels = _count(
    names, lambda i: f'model.model.1{i * ".model.3"}.model.1.weight'
  )
  # The weights of a U-Net do not show whether it has dropout.
  return {'name': 'unet', 'depth': levels + 1, 'dropout': 0.0}


def _resnet(names):
  blurs = _has_filter(names, 7, 11)
  first = 12 if blurs else 10
  blocks = _count(names, lambda i: f'model.{first + i}.conv_block.1.weight')
  end = first + blocks
  dropout = f'model.{first}.conv_block.5.weight' not in names
  return {
    'name': 'resnet',
    'depth': blocks,
    'dropout': _DROPOUT if dropout else 0.0,
    'downsampling': 'blur' if blurs else 'stride',
    'upsampling': 'blur' if _has_filter(names, end, end + 4) else 'transpose',
  }


def _has_filter(names, *places):
  return any(f'model.{i}.{FILTER.name}' in names for i in places)


def _count(names, name):
  return next(i for i in itertools.count() if name(i) not in names)
