"""Floating point operations of a training step, counted from the layers.

Only convolutions are counted, as direct convolutions: one multiply and one add
per input channel, kernel position and output value. Norms, activations, losses
and optimizers are not counted; they are less than 1% at the usual sizes. The
counts of CycleGAN are written out by hand. The counts of other networks and
methods are derived from the layers that the networks declare (`nets.verbs`).
"""

from cyclegan_jax.nets.verbs import Reader


def generator_macs(size, blocks, width, channels=3):
  """Returns the multiply-adds of each convolution of a ResNet generator.

  The list is in the order of the layers, starting at the input.

  Args:
    size: side of the image in pixels, a multiple of 4.
    blocks: number of residual blocks.
    width: number of channels of the first layer.
    channels: number of channels of the images.
  """
  full, half, quarter = (size**2 // n for n in (1, 4, 16))
  w1, w2, w4 = width, 2 * width, 4 * width
  return [
    full * 49 * channels * w1,
    half * 9 * w1 * w2,
    quarter * 9 * w2 * w4,
    *[quarter * 9 * w4 * w4] * (2 * blocks),
    # Transposed: each input position is multiplied by the whole kernel.
    quarter * 9 * w4 * w2,
    half * 9 * w2 * w1,
    full * 49 * w1 * channels,
  ]


def discriminator_macs(size, width, channels=3):
  """Returns the multiply-adds of each convolution of the 70x70 PatchGAN.

  The list is in the order of the layers, starting at the input.

  Args:
    size: side of the image in pixels.
    width: number of channels of the first layer.
    channels: number of channels of the images.
  """
  sides = [size // 2, size // 4, size // 8, size // 8 - 1, size // 8 - 2]
  widths = [channels, width, 2 * width, 4 * width, 8 * width, 1]
  return [
    side**2 * 16 * inputs * outputs
    for side, inputs, outputs in zip(sides, widths, widths[1:])
  ]


def step_flops(size, batch, blocks, width, identity=True):
  """Returns the floating point operations of one CycleGAN training step.

  The forward pass of a convolution, its gradient with respect to the input and
  its gradient with respect to the kernel cost the same. No gradient is computed
  with respect to the images of the batch, and none with respect to the kernels
  of the discriminators while the generators are updated.

  Args:
    size: side of the images in pixels, a multiple of 4.
    batch: number of images per domain.
    blocks: number of residual blocks of each generator.
    width: number of channels of the first layers.
    identity: True if there is an identity loss.
  """
  gen = generator_macs(size, blocks, width)
  disc = discriminator_macs(size, width)
  # Generator passes on images of the batch: two translations and, with identity
  # loss, two identity images. The two reconstructions start from translations.
  from_data = 4 if identity else 2
  macs = (from_data + 2) * 3 * sum(gen) - from_data * gen[0]
  macs += 2 * 2 * sum(disc)  # generators' update: no kernel gradients
  macs += 4 * (3 * sum(disc) - disc[0])  # discriminators: real and fake
  return 2 * batch * macs


def cut_step_flops(
  gen, disc, size, taps, patches=256, features=256, channels=3
):
  """Returns the floating point operations of a CUT step at batch size 1.

  Args:
    gen: generator network of `nets`.
    disc: discriminator network of `nets`.
    size: side of the images in pixels.
    taps: names of the features compared by the contrastive loss, in the order
      of the layers.
    patches: number of positions compared per feature.
    features: number of output features of the projection heads.
    channels: number of channels of the images.
  """
  layers, shapes = _macs(gen, size, channels)
  critic, _ = _macs(disc, size, channels)
  encoder = _until(layers, taps[-1])
  first, first_critic = layers['first'], critic['conv_0']
  macs = 2 * (3 * sum(layers.values()) - first)  # translation and identity
  macs += 2 * 3 * encoder  # queries, with gradients by the images
  # The discriminator's update, then the generator's without kernel gradients.
  macs += 2 * (3 * sum(critic.values()) - first_critic)
  macs += 2 * sum(critic.values())
  for tap in taps:
    height, width, inputs = shapes[tap]
    places = min(patches, height * width)
    head = places * (inputs * features + features**2)
    # Queries with both gradients, keys, then the products of queries and keys.
    macs += 2 * (3 + 1) * head + 2 * 2 * places**2 * features
  return 2 * macs


def _macs(net, size, channels):
  """Counts a network at an image size.

  Returns:
    ({layer: multiply-adds}, {tap: (height, width, channels)}).
  """
  counter = Counter()
  net.layers(counter, (size, size, channels))
  return counter.macs, counter.taps


def _until(layers, last):
  """Returns the multiply-adds of all layers up to and including `last`.

  Args:
    layers: {name of a layer: multiply-adds}, in order.
    last: name of a layer or of a residual block.
  """
  names = list(layers)
  end = max(i for i, name in enumerate(names) if name.split('/')[0] == last)
  return sum(layers[name] for name in names[: end + 1])


class Counter(Reader):
  """Reader of a network's layers that counts multiply-adds.

  A network calls one method (verb) of a reader per layer; see `nets.verbs`. The
  verbs here take and return x = (height, width, channels), the shape of an
  image, in place of the image.

  Attributes:
    macs: {name of a layer: multiply-adds}, in the order of the layers.
    taps: {name of a feature: (height, width, channels)}.
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
