"""The official networks' layers by PyTorch's names, in PyTorch's order.

A network is a list of `Layer`. From it the weights go both ways, and a file's
network is the one whose layers have the file's names and shapes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Layer(NamedTuple):
  """A layer in both worlds.

  Attributes:
    name: in the state_dict, such as 'model.10.conv_block.1'.
    path: in the parameters, such as ('block_0', 'conv_1').
    kind: a name of `LEAVES`.
  """

  name: str
  path: tuple
  kind: str


class Leaf(NamedTuple):
  """A layer's weight in both worlds.

  Attributes:
    name: in the state_dict.
    path: in the parameters.
    dimensions: of its array in the state_dict.
    load: array of the state_dict -> array of the parameters.
    export: the way back.
  """

  name: str
  path: str
  dimensions: int = 1
  load: Callable = lambda x: x
  export: Callable = lambda x: x


# Weights are float32, which counts up to 2**24: a count goes in two digits.
_BASE = 2**24
_BIAS = Leaf('bias', 'bias')
# What PyTorch remembers of the batches seen, which batch norm uses in eval().
AVERAGES = (
  Leaf('running_mean', 'mean'),
  Leaf('running_var', 'var'),
  Leaf(
    'num_batches_tracked',
    'count',
    0,
    lambda x: np.array(divmod(int(x), _BASE), np.float32),
    lambda x: np.int64(x[0]) * _BASE + np.int64(x[1]),
  ),
)
LEAVES = {
  # (outputs, inputs, height, width) to (height, width, inputs, outputs).
  'conv': (
    Leaf(
      'weight',
      'kernel',
      4,
      lambda x: x.transpose(2, 3, 1, 0),
      lambda x: x.transpose(3, 2, 0, 1),
    ),
    _BIAS,
  ),
  # From (inputs, outputs, height, width). PyTorch defines it as a
  # convolution's gradient, which flips the kernel.
  'up': (
    Leaf(
      'weight',
      'kernel',
      4,
      lambda x: x.transpose(2, 3, 0, 1)[::-1, ::-1],
      lambda x: x[::-1, ::-1].transpose(2, 3, 0, 1),
    ),
    _BIAS,
  ),
  'norm': (Leaf('weight', 'scale'), _BIAS, *AVERAGES),
}


def resnet(depth, dropout):
  """The layers of a ResNet generator of `depth` blocks."""
  second = 6 if dropout else 5
  layers = [*_with_norm('model', 1, 'first')]
  for i in (1, 2):
    layers += _with_norm('model', 1 + 3 * i, f'down_{i}')
  for i in range(depth):
    block = f'model.{10 + i}.conv_block'
    for place, which in ((1, 1), (second, 2)):
      layers += [
        Layer(f'{block}.{place}', (f'block_{i}', f'conv_{which}'), 'conv'),
        Layer(f'{block}.{place + 1}', (f'block_{i}', f'norm_{which}'), 'norm'),
      ]
  for i in (1, 2):
    layers += _with_norm('model', 7 + 3 * i + depth, f'up_{i}', 'up')
  return [*layers, Layer(f'model.{17 + depth}', ('last',), 'conv')]


def unet(depth, dropout):
  """The layers of a U-Net of `depth` levels; dropout moves none of them."""
  del dropout
  return [
    Layer('model.model.0', ('down_0',), 'conv'),
    *_level('model.model.1', 1, depth),
    Layer('model.model.3', ('up_0',), 'up'),
  ]


def _level(name, i, depth):
  """Level i of a U-Net and all below it."""
  if i == depth - 1:
    return [
      Layer(f'{name}.model.1', (f'down_{i}',), 'conv'),
      *_with_norm(f'{name}.model', 3, f'up_{i}', 'up'),
    ]
  return [
    *_with_norm(f'{name}.model', 1, f'down_{i}'),
    *_level(f'{name}.model.3', i + 1, depth),
    *_with_norm(f'{name}.model', 5, f'up_{i}', 'up'),
  ]


def patchgan(depth, dropout):
  """The layers of a PatchGAN; it has no dropout."""
  del dropout
  layers = [Layer('model.0', ('conv_0',), 'conv')]
  for i in range(1, depth + 1):
    layers += [
      Layer(f'model.{3 * i - 1}', (f'conv_{i}',), 'conv'),
      Layer(f'model.{3 * i}', (f'norm_{i}',), 'norm'),
    ]
  return [*layers, Layer(f'model.{3 * depth + 2}', ('last',), 'conv')]


def pixelgan(depth, dropout):
  """The layers of a PixelGAN, which has a depth of its own."""
  del depth, dropout
  return [
    Layer('net.0', ('conv_0',), 'conv'),
    Layer('net.2', ('conv_1',), 'conv'),
    Layer('net.3', ('norm_1',), 'norm'),
    Layer('net.5', ('last',), 'conv'),
  ]


def _with_norm(names, place, path, kind='conv'):
  return [
    Layer(f'{names}.{place}', (path,), kind),
    Layer(f'{names}.{place + 1}', (f'{path}_norm',), 'norm'),
  ]


# Name of the network -> (depth, dropout) -> its layers.
LAYOUTS = {
  'resnet': resnet,
  'unet': unet,
  'patchgan': patchgan,
  'pixelgan': pixelgan,
}
