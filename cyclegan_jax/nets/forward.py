"""A network's forward pass: its verbs as layers of Flax."""

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
  pads = ((0, 0), (size, size), (size, size), (0, 0))
  return jnp.pad(x, pads, 'edge')


_PADS = {'reflect': reflect_pad, 'replicate': _replicate}
_ACTIVATIONS = {
  'relu': nn.relu,
  'leaky_relu': lambda x: nn.leaky_relu(x, 0.2),
}


class Enough(Exception):
  """All features that were asked for are there: no further layer need run."""


class Forward(Reader):
  """Runs layers on images [batch, height, width, channels].

  Attributes:
    net: the `Net` whose parameters the layers have.
    train: whether dropout drops.
    axis: name of the mapped device axis, or None.
    taps: the features asked for.
    features: {name: array} of those met so far.
    only_taps: whether to raise `Enough` once they are all there.
  """

  what = 'Flax'

  def __init__(self, net, train, axis, taps=(), only_taps=False):
    self.net, self.train, self.axis = net, train, axis
    self.taps, self.only_taps = frozenset(taps), only_taps
    self.features = {}

  def start(self, x):
    """The pictures [batch, height, width, channels] as the verbs take them."""
    return x

  def finish(self, x):
    """The result of verbs as pictures, or maps, again."""
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
    # PyTorch's padding seen from the dilated input; SAME is one pixel off.
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
    """A residual block."""
    return x + layers(self, x)

  def behind_block(self, x):
    """A block's result as the verbs after the blocks take it."""
    return x

  def block_reader(self):
    """(net, train, axis) -> the reader that runs a block's layers."""
    return Forward

  def residual_blocks(self, x, names, layers):
    """The blocks, compiled once as a loop where that is as fast."""
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
      # A loop writes what it keeps to memory: only what is dear to compute.
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
  """(first, last) of the blocks up to each tap, and of those after the last."""
  ends = [i for i, name in enumerate(names, 1) if name in taps]
  ends = sorted({0, *ends, len(names)})
  return list(zip(ends, ends[1:]))


class Block(Net):
  """A residual block as a network of its own.

  Attributes:
    layers: (reader, x) -> x, what is added to x.
    reader: (net, train, axis) -> `Forward`, to run them.
  """

  layers: object = None
  reader: object = Forward

  @nn.compact
  def __call__(self, x, train=False, axis=None):
    return self.reader(self, train, axis).block(x, self.layers)
