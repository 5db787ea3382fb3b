"""The official networks' layers by PyTorch's names, in PyTorch's order.

A network is a list of `Layer`, read from its verbs. From it the weights go
both ways, and a file's network is the one whose layers have the file's names
and shapes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cyclegan_jax.nets import blur
from cyclegan_jax.nets.verbs import Reader


class Layer(NamedTuple):
  """A layer in both worlds.

  Attributes:
    name: in the state_dict, such as 'model.10.conv_block.1'.
    path: in the parameters, such as ('block_0', 'conv_1'); () for a layer
      without parameters.
    kind: a name of `LEAVES` or `FILTERS`.
    features: channels that it gives.
  """

  name: str
  path: tuple
  kind: str
  features: int


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
# Their weight, which is no parameter.
FILTER = Leaf('filt', '', 4)
# Layers that have a fixed filter [channels, 1, size, size] in the state_dict.
FILTERS = {
  'blur_down': np.outer(blur.DOWN, blur.DOWN).astype(np.float32),
  'blur_up': np.outer(blur.UP, blur.UP).astype(np.float32),
}
# What PyTorch calls the entries that have no weights.
_PADS = {'reflect': 'ReflectionPad2d'}
_ACTIVATIONS = {'relu': 'ReLU', 'leaky_relu': 'LeakyReLU'}


def layers(net):
  """The layers of a network as the official code has them, in its order.

  Args:
    net: a generator or discriminator of `nets`.

  Raises:
    UserError: a layer or an option that the official code does not have.
  """
  names = Names(net.sequential)
  net.layers(names, 0)
  return names.layers


class Names(Reader):
  """A network's verbs as entries of PyTorch's Sequential, which it counts.

  What the verbs pass on is the number of channels.

  Attributes:
    sequential: name of the Sequential in the state_dict.
    path: in the parameters, of what is in it.
    layers: list of `Layer` so far.
    count: entries so far.
  """

  what = 'an official .pth file'

  def __init__(self, sequential, path=()):
    self.sequential, self.path = sequential, path
    self.layers, self.count = [], 0

  def entry(self):
    """Counts an entry of the Sequential; returns its name."""
    self.count += 1
    return f'{self.sequential}.{self.count - 1}'

  def layer(self, features, kind, *path):
    """Counts an entry that has weights; returns the number of channels."""
    path = (*self.path, *path) if path else ()
    self.layers.append(Layer(self.entry(), path, kind, features))
    return features

  def pad(self, x, size, mode='reflect'):
    self.known(_PADS, mode, 'generator.padding')
    self.entry()
    return x

  def conv(self, x, name, features, kernel, *, stride=1, padding=0, bias=None):
    return self.layer(features, 'conv', name)

  def conv_transpose(self, x, name, features, kernel, *, bias=None):
    return self.layer(features, 'up', name)

  def normalize(self, x, name):
    return self.layer(x, 'norm', name)

  def activate(self, x, kind):
    self.known(_ACTIVATIONS, kind, 'activation')
    self.entry()
    return x

  def dropout(self, x, rate):
    if rate:
      self.entry()
    return x

  def residual_blocks(self, x, names, layers):
    for name in names:
      block = Names(f'{self.entry()}.conv_block', (*self.path, name))
      x = layers(block, x)
      self.layers += block.layers
    return x

  def skip(self, x, layers):
    inner = f'{self.entry()}.model'
    outer = self.sequential, self.count
    self.sequential, self.count = inner, 0
    y = layers(x)
    self.sequential, self.count = outer
    return x + y

  def blur_down(self, x):
    return self.layer(x, 'blur_down')

  def blur_up(self, x):
    return self.layer(x, 'blur_up')

  def tap(self, x, name):
    return x
