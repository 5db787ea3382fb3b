"""Reader that runs a network's forward pass in the forms that suit a TPU.

The results equal those of `nets.forward` up to rounding. Small batches are cut
into strips of rows. Full-resolution images with few channels are packed. An
instance norm and the activation and padding that follow form one operation,
which is applied when a convolution needs its result.
"""

from functools import partial, wraps

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name

from cyclegan_jax.nets import blur
from cyclegan_jax.nets.conv import edges, packed, strips, tpu
from cyclegan_jax.nets.conv.plain import Geometry, plain
from cyclegan_jax.nets.forward import Forward
from cyclegan_jax.nets.later import Later
from cyclegan_jax.nets.layers import CONVOLUTION, affine_parameters
from cyclegan_jax.nets.verbs import first_padding

_MODES = {'reflect': 'reflect', 'replicate': 'replicate'}
_SLOPES = {'relu': 0.0, 'leaky_relu': 0.2}
_WINDOW, _FEW = 7, 8  # least side of a "large" kernel; most of "few" channels
_LANES = 128  # channels that fill a register


def _named(verb):
  """Decorates a verb to name its operations by the layer, as Flax modules do.

  Operations of a norm get the name of the convolution that needs the result.
  """

  @wraps(verb)
  def named(self, x, name, *args, **options):
    with jax.named_scope(name):
      return verb(self, x, name, *args, **options)

  return named


class ForwardTPU(Forward):
  """Reader that runs a network's forward pass in the forms that suit a TPU.

  A network calls one method (verb) of a reader per layer; see `nets.verbs`. The
  verbs here take and return a `Later`: images cut into strips of rows, with the
  norm, activation and padding that are not applied yet.

  Attributes:
    strips: number of strips per image; 1 means whole images.
    padding: (size, mode) of the padding with which residual blocks begin.
      Inputs and results of the blocks are then arrays that are padded already.
      None if the blocks do not begin with a padding.
    height: number of rows of the network's images.
  """

  height = 0

  def __init__(self, *args, strips=1, padding=None):
    super().__init__(*args)
    self.strips, self.padding = strips, padding

  def start(self, x):
    self.height = x.shape[1]
    self.strips = strips.count(len(x), self.height, self.net.multiple)
    return Later(strips.cut(x, self.strips))

  def finish(self, x):
    return strips.join(self._now(x), self.strips)

  def pad(self, x, size, mode='reflect'):
    later = Later(self._now(x)) if x.size else x
    mode = self.known(_MODES, mode, 'generator.padding')
    return later._replace(size=size, mode=mode)

  @_named
  def conv(self, x, name, features, kernel, *, stride=1, padding=0, bias=None):
    if (2 * (x.size or padding) - kernel) // stride != -1:
      x = x.joined(self.strips)  # strips of the result would differ in height
      self.strips = 1
    if x.norm is None:
      x = x._replace(x=x.x.astype(self.net.dtype))
    weights, bias = self._parameters(x, name, features, kernel, bias)
    form = self._packed_form(x, features, kernel, stride, padding)
    if form:
      return form(x, weights)._replace(bias=bias)
    x = x.unpacked() if x.packed else x
    if kernel >= _WINDOW and features <= _FEW:
      # Padding the columns of the few outputs is cheaper than of the input.
      y = x.run(self.strips, columns=False)
      return Later(tpu.few_outputs(y, weights, x.size, x.mode), bias)
    y = x.run(self.strips)
    if self.strips > 1 and padding:
      pads = (padding, kernel - stride - padding)
      y = strips.pad(y, self.strips, pads, (padding, padding), 'zeros')
      padding = 0
    y = tpu.convolve(y, weights, Geometry(stride, (padding, padding)))
    return Later(checkpoint_name(y, CONVOLUTION), bias)

  @_named
  def conv_transpose(self, x, name, features, kernel, *, bias=None):
    weights, bias = self._parameters(x, name, features, kernel, bias)
    y = self._now(x)
    after = (0, 1)
    fills = 2 * y.shape[1] * self.strips == self.height
    if kernel == 3 and features < _LANES and self.net.packs and fills:
      y = strips.pad(y, self.strips, after, after, 'zeros')
      y = plain(y, packed.doubling(weights), Geometry())
      return Later(y, bias, packed=True)
    # PyTorch's padding, in terms of the dilated input. SAME would be shifted by
    # one pixel.
    padding = {3: (1, 2), 4: (2, 2)}[kernel]
    if self.strips > 1:
      # Rows of neighbouring strips that the outputs of a strip depend on, and
      # the padding of the dilated strips that remains.
      pads, padding = {3: (after, (1, 0)), 4: ((1, 1), (0, 0))}[kernel]
      y = strips.pad(y, self.strips, pads, pads, 'zeros')
    return Later(plain(y, weights, Geometry(1, padding, 2)), bias)

  def normalize(self, x, name):
    if not self.net.norm.startswith('instance'):
      return Later(super().normalize(self._now(x), name))
    x = x if x.is_linear else Later(self._now(x))
    affine = self.net.norm == 'instance_affine'
    norm = _NormParameters(affine, x.channels, parent=self.net, name=name)()
    return x.normalized(norm)

  def activate(self, x, kind):
    if x.norm is None or x.slope != 1 or x.size:
      return Later(super().activate(self._now(x), kind))
    return x._replace(slope=self.known(_SLOPES, kind, 'activation'))

  def dropout(self, x, rate):
    # Dropout masks are drawn for whole images.
    y = super().dropout(strips.join(self._now(x), self.strips), rate)
    return Later(strips.cut(y, self.strips))

  def skip(self, x, layers):
    before = self.strips
    inner = self._now(layers(x))
    x = self._now(x) if self.strips == before else x.joined(before).run(1)
    return Later(jnp.concatenate([x, inner], axis=-1))

  def double(self, x):
    return Later(super().double(self._now(x)))

  def blur_down(self, x):
    return Later(blur.halve(self._now(self.pad(x, 1))))

  def blur_up(self, x):
    return Later(blur.double(self._now(self.pad(x, 1, 'replicate'))))

  def tap(self, x, name):
    if name not in self.taps:
      return x
    x = x.unpacked() if x.packed else x
    super().tap(x.joined(self.strips).run(1), name)
    return x

  def residual_blocks(self, x, names, layers):
    self.padding = first_padding(layers)
    if self.padding:
      x = self.pad(x, *self.padding)
    return self.behind_block(
      super().residual_blocks(self._now(x), names, layers)
    )

  def block_reader(self):
    return partial(ForwardTPU, strips=self.strips, padding=self.padding)

  def block(self, x, layers):
    inner = layers(self, self.behind_block(x))
    return x + self._now(self.pad(inner, *self.padding or (0,)))

  def behind_block(self, x):
    if not self.padding:
      return Later(x)
    size, _ = self.padding
    known = {self.padding: x}
    return Later(x[:, size:-size, size:-size], known=known)

  def _now(self, x):
    """Returns x with all operations applied, unpacked, but in strips."""
    return (x.unpacked() if x.packed else x).run(self.strips)

  def _packed_form(self, x, features, kernel, stride, padding):
    """Returns a function (x, weights) -> `Later` for packed strips, or None."""
    fits = x.size and kernel == 2 * x.size + 1 and stride == 1
    halves = not x.size and kernel in (3, 4) and (stride, padding) == (2, 1)
    if x.packed:
      if halves:
        return self._halve
      return self._to_few if fits and features <= _FEW else None
    few = x.norm is None and x.channels <= _FEW and features < _LANES
    if not few or any(side % 2 for side in x.x.shape[1:3]):
      return None
    if halves:
      return self._halve_few
    return self._from_few if fits and self.net.packs else None

  def _from_few(self, x, weights):
    """Convolves an unpacked x of few channels to packed strips."""
    # Packed before padding: a register then holds four pixels, not one.
    y = x._replace(x=edges.pack(x.x), packed=True).run(self.strips)
    return Later(tpu.few_inputs(y, packed.between(weights)), packed=True)

  def _to_few(self, x, weights):
    """Convolves a packed x to unpacked strips of few channels."""
    y = tpu.few_outputs(x.run(self.strips), packed.between(weights))
    return Later(edges.unpack(y))

  def _halve(self, x, weights):
    """Convolves a packed x with stride 2."""
    convolve = partial(plain, geometry=Geometry())
    return Later(self._halved(x.run(self.strips), weights, convolve))

  def _halve_few(self, x, weights):
    """Packs an x of few channels and convolves it with stride 2."""
    y = edges.pack(self._now(x))
    return Later(self._halved(y, weights, tpu.few_inputs))

  def _halved(self, y, weights, convolve):
    """Pads packed strips with zeros and applies a stride-2 convolution."""
    pads = (1, len(weights) - 3)
    y = strips.pad(y, self.strips, pads, pads, 'zeros')
    return convolve(y, packed.halving(weights))

  def _parameters(self, x, name, features, kernel, bias):
    """Returns (kernel, bias or None) of a convolution."""
    return _ConvParameters(
      (kernel, kernel, x.channels, features),
      self.net.has_bias(bias),
      self.net.kernel_init(),
      self.net.dtype,
      parent=self.net,
      name=name,
    )()


class _NormParameters(nn.Module):
  """Module with the parameters of `layers.InstanceNorm`, same names.

  Attributes:
    affine: whether there are parameters scale and bias.
    features: number of channels.
  """

  affine: bool
  features: int

  @nn.compact
  def __call__(self):
    return affine_parameters(self, self.features)


class _ConvParameters(nn.Module):
  """Module with the parameters of `Net.conv`, same names.

  Attributes:
    shape: shape of the kernel, (size, size, inputs, outputs).
    use_bias: whether there is a bias [outputs].
    kernel_init: initializer of the kernel.
    dtype: dtype of the returned arrays.
  """

  shape: tuple[int, ...]
  use_bias: bool
  kernel_init: object
  dtype: jnp.dtype

  @nn.compact
  def __call__(self):
    kernel = self.param('kernel', self.kernel_init, self.shape)
    kernel = kernel.astype(self.dtype)
    if not self.use_bias:
      return kernel, None
    bias = self.param('bias', nn.initializers.zeros, self.shape[-1:])
    return kernel, bias.astype(self.dtype)
