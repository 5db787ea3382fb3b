"""Floating point operations of a training step, counted from the layers.

Convolutions alone, as direct convolutions: a multiply and an add for every
input channel and kernel position of every output. Norms, activations, losses
and optimizers are left out, which is less than 1% at the usual sizes.
"""


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
