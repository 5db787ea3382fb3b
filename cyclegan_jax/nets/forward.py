"""Reader that runs a network's forward pass with layers of Flax."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cyclegan_jax.nets import blur
from cyclegan_jax.nets.conv import forms
from cyclegan_jax.nets.conv.norm import STATISTICS
from cyclegan_jax.nets.layers import CONVOLUTION, Dropout, Net, reflect_pad
from cyclegan_jax.nets.verbs import Reader


def _replicate(x, size):
  """Pads images [b, h, w, c] by `size` repetitions of the edge pixels."""
  pads = ((0, 0), (size, size), (size, size), (0, 0))
  return jnp.pad(x, pads, 'edge')


_PADS = {'reflect': reflect_pad, 'replicate': _replicate}
_ACTIVATIONS = {
  'relu': nn.relu,
  'leaky_relu': lambda x: nn.leaky_relu(x, 0.2),
}


class Enough(Exception):
  """Stops a forward pass once all requested features are computed."""


class Forward(Reader):
  """Reader that runs layers on images [batch, height, width, channels].

  A network calls one method (verb) of a reader per layer; see `nets.verbs`.
  `start` makes the x for the first verb, and `finish` converts the last result
  back.

  Attributes:
    net: the `Net` that holds the parameters of the layers.
    train: whether dropout is active.
    axis: name of the mapped device axis, or None outside of a mapped function.
    taps: names of the requested features.
    features: {name: array} of the requested features computed so far.
    only_taps: whether to raise `Enough` once all requested features are
      computed.
  """

  what = 'Flax'

  def __init__(self, net, train, axis, taps=(), only_taps=False):
    self.net, self.train, self.axis = net, train, axis
    self.taps, self.only_taps = frozenset(taps), only_taps
    self.features = {}

  def start(self, x):
    """Converts images to the form that the verbs work with.

    Args:
      x: images [batch, height, width, channels].
    """
    return x

  def finish(self, x):
    """Converts a result of the verbs back to [batch, height, width, channels].

    Args:
      x: images or scores in the form that the verbs work with.
    """
    return x

  def pad(self, x, size, mode='reflect'):
    return self.known(_PADS, mode, 'generator.padding')(x, size)

  def conv(self, x, name, features, kernel, *, stride=1, padding=0, bias=None):
    return self.net.conv(
      x,
      features,
      kernel,
      name,
      strides=stride,
      padding=(padding, padding),
      bias=bias,
    )

  def conv_transpose(self, x, name, features, kernel, *, bias=None):
    # PyTorch's padding, in terms of the dilated input. SAME would be shifted by
    # one pixel.
    padding = {3: (1, 2), 4: (2, 2)}[kernel]
    return self.net.conv(
      x, features, kernel, name, padding=padding, input_dilation=2, bias=bias
    )

  def normalize(self, x, name):
    return self.net.normalize(x, name, self.axis)

  def activate(self, x, kind):
    return self.known(_ACTIVATIONS, kind, 'activation')(x)

  def dropout(self, x, rate):
    return Dropout(rate, parent=self.net)(x, self.train, self.axis)

  def skip(self, x, layers):
    return jnp.concatenate([x, layers(x)], axis=-1)

  def double(self, x):
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)

  def blur_down(self, x):
    return blur.down(x)

  def blur_up(self, x):
    return blur.up(x)

  def tap(self, x, name):
    if name in self.taps:
      self.features[name] = x
      if self.only_taps and len(self.features) == len(self.taps):
        raise Enough
    return x

  def block(self, x, layers):
    """Applies one residual block.

    Args:
      x: the block's input.
      layers: function (reader, x) -> x that applies the layers beside the
        shortcut.

    Returns:
      x + layers(self, x).
    """
    return x + layers(self, x)

  def behind_block(self, x):
    """Converts a block's result to the form that all other verbs work with.

    Args:
      x: the result of a residual block, in the form that `block` returns.
    """
    return x

  def block_reader(self):
    """Returns a function (net, train, axis) that makes the reader of a block.

    The arguments are the block's network, whether dropout is active, and the
    name of the mapped device axis or None.
    """
    return Forward

  def residual_blocks(self, x, names, layers):
    """Applies residual blocks, as a loop if a loop is as fast.

    A loop compiles the block only once.

    Args:
      x: the input of the first block.
      names: names of the blocks: keys of their parameters.
      layers: function (reader, x) -> x that applies a block's layers, without
        the shortcut.
    """
    net = self.net
    block = Block(
      **net.options(), layers=layers, reader=self.block_reader(), parent=None
    )
    if net.is_initializing():
      shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
      for name in names:
        net.param(name, lambda key: block.lazy_init(key, shape)['params'])
    drops = self.train and net.dropout > 0
    key = net.make_rng('dropout') if drops else None

    def run(x, block_input):
      params, i = block_input
      rngs = {'dropout': jax.random.fold_in(key, i)} if drops else None
      x, _ = block.apply(
        {'params': params},
        x,
        self.train,
        self.axis,
        rngs=rngs,
        mutable=['batch_stats'],
      )
      return x, None

    if net.remat != 'none':
      run = jax.checkpoint(run)
    elif forms.loops(net.target, x):
      # A loop writes saved activations to memory, so save only those that are
      # expensive to compute.
      keep = jax.checkpoint_policies.save_only_these_names(
        CONVOLUTION, STATISTICS
      )
      run = jax.checkpoint(run, policy=keep, prevent_cse=False)
    for first, last in _between(names, self.taps):
      params = [net.variables['params'][name] for name in names[first:last]]
      if forms.loops(net.target, x):
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        x = lax.scan(run, x, (params, jnp.arange(first, last)))[0]
      else:
        for i, parameters in zip(range(first, last), params):
          x, _ = run(x, (parameters, i))
      self.tap(self.behind_block(x), names[last - 1])
    return x


def _between(names, taps):
  """Returns ranges (first, last) of blocks that end at taps or at the end."""
  ends = [i for i, name in enumerate(names, 1) if name in taps]
  ends = sorted({0, *ends, len(names)})
  return list(zip(ends, ends[1:]))


class Block(Net):
  """Residual block as a separate Flax network.

  Attributes:
    layers: function (reader, x) -> x that applies the layers beside the
      shortcut.
    reader: function (net, train, axis) that returns the `Forward` to run the
      layers with.
  """

  layers: object = None
  reader: object = Forward

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    return self.reader(self, train, axis).block(x, self.layers)
