"""Floating point operations of a training step, counted from the layers.

Convolutions alone, as direct convolutions: a multiply and an add for every
input channel and kernel position of every output. Norms, activations, losses
and optimizers are left out, which is less than 1% at the usual sizes.
CycleGAN's are written out by hand; those of other networks and methods are read
from the networks' verbs.
"""

from cyclegan_jax.nets.verbs import Reader


def generator_macs(size, blocks, width, channels=3):
  """Multiply-adds of each convolution of a ResNet generator, from the input.

  Args:
    size: side of the picture in pixels, a multiple of 4.
    blocks: residual blocks.
    width: channels of the first layer.
    channels: channels of the pictures.
  """
  full, half, quarter = (size**2 // n for n in (1, 4, 16))
  w1, w2, w4 = width, 2 * width, 4 * width
  return [
    full * 49 * channels * w1,
    half * 9 * w1 * w2,
    quarter * 9 * w2 * w4,
    *[quarter * 9 * w4 * w4] * (2 * blocks),
    # Transposed: each position of the input meets the whole kernel.
    quarter * 9 * w4 * w2,
    half * 9 * w2 * w1,
    full * 49 * w1 * channels,
  ]


def discriminator_macs(size, width, channels=3):
  """Multiply-adds of each convolution of the 70x70 PatchGAN, from the input."""
  sides = [size // 2, size // 4, size // 8, size // 8 - 1, size // 8 - 2]
  widths = [channels, width, 2 * width, 4 * width, 8 * width, 1]
  return [
    side**2 * 16 * inputs * outputs
    for side, inputs, outputs in zip(sides, widths, widths[1:])
  ]


def step_flops(size, batch, blocks, width, identity=True):
  """Floating point operations of one CycleGAN training step.

  A convolution's forward pass, its gradient by the input and its gradient by
  the kernel cost the same. No gradient is taken by the pictures of the data,
  and none by the discriminators' kernels while the generators are updated.

  Args:
    size: side of the pictures in pixels, a multiple of 4.
    batch: pictures of each domain.
    blocks: residual blocks of each generator.
    width: channels of the first layers.
    identity: whether there is an identity loss.
  """
  gen = generator_macs(size, blocks, width)
  disc = discriminator_macs(size, width)
  # Two translations and, with identity loss, two more start from data; the two
  # that translate back start from fakes.
  from_data = 4 if identity else 2
  macs = (from_data + 2) * 3 * sum(gen) - from_data * gen[0]
  macs += 2 * 2 * sum(disc)  # the generators' update: no kernel gradients
  macs += 4 * (3 * sum(disc) - disc[0])  # the discriminators': real and fake
  return 2 * batch * macs


def cut_step_flops(
  gen, disc, size, taps, patches=256, features=256, channels=3
):
  """Floating point operations of a CUT step: one pair, one direction.

  Args:
    gen: the generator, of `nets`.
    disc: the discriminator.
    size: side of the pictures in pixels.
    taps: names of the features that are compared, in their order.
    patches: places compared in each.
    features: of the projection heads.
    channels: of the pictures.
  """
  layers, shapes = _macs(gen, size, channels)
  critic, _ = _macs(disc, size, channels)
  encoder = _until(layers, taps[-1])
  first, first_critic = layers['first'], critic['conv_0']
  macs = 2 * (3 * sum(layers.values()) - first)  # translation and identity
  macs += 2 * 3 * encoder  # queries, with gradients by the pictures
  macs += 2 * (3 * sum(critic.values()) - first_critic)  # its update
  macs += 2 * sum(critic.values())  # fooling it: no kernel gradients
  for tap in taps:
    height, width, inputs = shapes[tap]
    places = min(patches, height * width)
    head = places * (inputs * features + features**2)
    # A query with both gradients and a key, then the products of these.
    macs += 2 * (3 + 1) * head + 2 * 2 * places**2 * features
  return 2 * macs


def _macs(net, size, channels):
  """({layer: multiply-adds}, {tap: (height, width, channels)}) of a network."""
  counter = Counter()
  net.layers(counter, (size, size, channels))
  return counter.macs, counter.taps


def _until(layers, last):
  """The sum of the layers up to the one of a name, or of a block of it."""
  names = list(layers)
  end = max(i for i, name in enumerate(names) if name.split('/')[0] == last)
  return sum(layers[name] for name in names[: end + 1])


class Counter(Reader):
  """A network's verbs as counts; x is (height, width, channels).

  Attributes:
    macs: {name of a layer: multiply-adds}, in order.
    taps: {name: (height, width, channels)}.
  """

  what = 'the count of operations'

  def __init__(self, prefix=''):
    self.prefix, self.macs, self.taps = prefix, {}, {}

  def pad(self, x, size, mode='reflect'):
    return x[0] + 2 * size, x[1] + 2 * size, x[2]

  def conv(self, x, name, features, kernel, *, stride=1, padding=0, bias=None):
    height, width = ((s + 2 * padding - kernel) // stride + 1 for s in x[:2])
    macs = height * width * kernel**2 * x[2] * features
    self.macs[self.prefix + name] = macs
    return height, width, features

  def conv_transpose(self, x, name, features, kernel, *, bias=None):
    self.macs[self.prefix + name] = x[0] * x[1] * kernel**2 * x[2] * features
    return 2 * x[0], 2 * x[1], features

  def normalize(self, x, name):
    return x

  def activate(self, x, kind):
    return x

  def dropout(self, x, rate):
    return x

  def residual_blocks(self, x, names, layers):
    for name in names:
      block = Counter(f'{name}/')
      layers(block, x)
      self.macs |= block.macs
      self.tap(x, name)
    return x

  def skip(self, x, layers):
    return *x[:2], x[2] + layers(x)[2]

  def double(self, x):
    return 2 * x[0], 2 * x[1], x[2]

  def blur_down(self, x):
    return -(-x[0] // 2), -(-x[1] // 2), x[2]

  def blur_up(self, x):
    return self.double(x)

  def tap(self, x, name):
    self.taps[name] = x
    return x
