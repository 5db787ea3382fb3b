"""Lists of the official networks' layers, with PyTorch's names and order.

The list of a network is derived from its verbs (`nets.verbs`). It serves to
convert weights in both directions, and to recognise the network of a file by
names and shapes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cyclegan_jax.nets import blur
from cyclegan_jax.nets.verbs import Reader


class Layer(NamedTuple):
  """A layer, with its name in PyTorch and its path in the parameters.

  Attributes:
    name: name in the state_dict, such as 'model.10.conv_block.1'.
    path: path in the parameters, such as ('block_0', 'conv_1'); () for a layer
      without parameters.
    kind: kind of the layer, a key of `LEAVES` or `FILTERS`.
    features: number of output channels.
  """

  name: str
  path: tuple
  kind: str
  features: int


class Leaf(NamedTuple):
  """A weight of a layer, with the conversion between PyTorch and parameters.

  Attributes:
    name: last part of the name in the state_dict, such as 'weight'.
    path: last part of the path in the parameters, such as 'kernel'.
    dimensions: number of dimensions of the array in the state_dict.
    load: array of the state_dict -> array of the parameters.
    export: array of the parameters -> array of the state_dict.
  """

  name: str
  path: str
  dimensions: int = 1
  load: Callable = lambda x: x
  export: Callable = lambda x: x


# Parameters are float32, exact for integers up to 2**24 only. A count is stored
# as two digits of this base.
_BASE = 2**24
_BIAS = Leaf('bias', 'bias')
# PyTorch's running averages of batches, which batch norm uses in eval().
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
  # From (outputs, inputs, height, width) to (height, width, inputs, outputs).
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
  # From (inputs, outputs, height, width) to (height, width, inputs, outputs).
  # PyTorch defines a transposed convolution as the gradient of a convolution,
  # so the kernel is flipped.
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
# The weight of the layers in `FILTERS`, which is no parameter.
FILTER = Leaf('filt', '', 4)
# Layers that have a fixed filter [channels, 1, size, size] in the state_dict.
FILTERS = {
  'blur_down': np.outer(blur.DOWN, blur.DOWN).astype(np.float32),
  'blur_up': np.outer(blur.UP, blur.UP).astype(np.float32),
}
# PyTorch's names of the entries without weights.
_PADS = {'reflect': 'ReflectionPad2d'}
_ACTIVATIONS = {'relu': 'ReLU', 'leaky_relu': 'LeakyReLU'}


def layers(net):
  """Returns the layers of a network, in the order of the official code.

  Args:
    net: a generator or discriminator of `nets`.

  Returns:
    List of the layers with weights or filters, each as a `Layer`.

  Raises:
    UserError: the network has a layer or an option that the official code does
      not have.
  """
  names = Names(net.sequential)
  net.layers(names, 0)
  return names.layers


class Names(Reader):
  """Reader that lists a network's layers as entries of PyTorch's `Sequential`.

  A network calls one method (verb) of a reader per layer; see `nets.verbs`. The
  verbs here take and return x, the number of channels. Each verb counts the
  entries that the layer has in the `Sequential`.

  Attributes:
    sequential: name of the `Sequential` in the state_dict.
    path: path in the parameters of the layers in the `Sequential`.
    layers: list of the `Layer`s so far.
    count: number of entries so far.
  """

  what = 'an official .pth file'

  def __init__(self, sequential, path=()):
    self.sequential, self.path = sequential, path
    self.layers, self.count = [], 0

  def entry(self):
    """Counts one entry of the `Sequential` and returns the entry's name."""
    self.count += 1
    return f'{self.sequential}.{self.count - 1}'

  def layer(self, features, kind, *path):
    """Adds a `Layer` as the next entry of the `Sequential`.

    Args:
      features: number of output channels.
      kind: kind of the layer, a key of `LEAVES` or `FILTERS`.
      *path: name of the layer's parameters; empty for a layer without
        parameters.

    Returns:
      `features`.
    """
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
