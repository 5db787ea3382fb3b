"""The official CycleGAN in PyTorch, as a contender of the benchmarks.

Layers, losses and the order of passes and updates match `networks.py` and
`cycle_gan_model.py` of the official code. Images are float [batch, channels,
height, width] in [-1, 1].
"""

import itertools
import random

import options
import torch
from torch import nn
from torch.nn import functional

from cyclegan_jax.defaults import get_config


class Residual(nn.Sequential):
  """Residual block: returns x + layers(x)."""

  def forward(self, x):
    return x + super().forward(x)


def generator(blocks, width, channels=3):
  """Returns the ResNet generator with instance norm, with random weights.

  Args:
    blocks: number of residual blocks.
    width: number of channels of the first layer.
    channels: number of channels of the images.
  """
  w1, w2, w4 = width, 2 * width, 4 * width

  def block():
    return Residual(
      nn.ReflectionPad2d(1),
      nn.Conv2d(w4, w4, 3),
      nn.InstanceNorm2d(w4),
      nn.ReLU(True),
      nn.ReflectionPad2d(1),
      nn.Conv2d(w4, w4, 3),
      nn.InstanceNorm2d(w4),
    )

  def up(inputs, outputs):
    return nn.ConvTranspose2d(
      inputs, outputs, 3, stride=2, padding=1, output_padding=1
    )

  net = nn.Sequential(
    nn.ReflectionPad2d(3),
    nn.Conv2d(channels, w1, 7),
    nn.InstanceNorm2d(w1),
    nn.ReLU(True),
    nn.Conv2d(w1, w2, 3, stride=2, padding=1),
    nn.InstanceNorm2d(w2),
    nn.ReLU(True),
    nn.Conv2d(w2, w4, 3, stride=2, padding=1),
    nn.InstanceNorm2d(w4),
    nn.ReLU(True),
    *(block() for _ in range(blocks)),
    up(w4, w2),
    nn.InstanceNorm2d(w2),
    nn.ReLU(True),
    up(w2, w1),
    nn.InstanceNorm2d(w1),
    nn.ReLU(True),
    nn.ReflectionPad2d(3),
    nn.Conv2d(w1, channels, 7),
    nn.Tanh(),
  )
  return net.apply(_draw_weights)


def discriminator(width, channels=3):
  """Returns the 70x70 PatchGAN with instance norm, with random weights.

  Args:
    width: number of channels of the first layer.
    channels: number of channels of the images.
  """
  widths = [width, 2 * width, 4 * width, 8 * width]
  layers = [nn.Conv2d(channels, width, 4, stride=2, padding=1)]
  for stride, inputs, outputs in zip((2, 2, 1), widths, widths[1:]):
    layers += [
      nn.LeakyReLU(0.2, True),
      nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1),
      nn.InstanceNorm2d(outputs),
    ]
  last = nn.Conv2d(widths[-1], 1, 4, padding=1)
  return nn.Sequential(*layers, nn.LeakyReLU(0.2, True), last).apply(
    _draw_weights
  )


def _draw_weights(layer):
  if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
    nn.init.normal_(layer.weight, 0.0, 0.02)
    nn.init.zeros_(layer.bias)


class ImagePool:
  """Pool of earlier translations that the discriminator judges (paper, Sec. 4).

  `exchange` passes each batch of translations through the pool, by the rules of
  `cyclegan_jax.training.image_pool`.

  Args:
    size: number of images in the pool.
  """

  def __init__(self, size=50):
    self._size = size
    self._images = []

  def exchange(self, images):
    """Adds new translations and returns images for the discriminator.

    Once the pool is full, each new image is returned itself or, with
    probability 1/2, swapped for a random image of the pool.

    Args:
      images: translations, [batch, channels, height, width] in [-1, 1].

    Returns:
      Images of the same shape.
    """
    return torch.cat([self._one(image[None]) for image in images])

  def _one(self, image):
    if len(self._images) < self._size:
      self._images.append(image)
    elif random.random() < 0.5:
      slot = random.randrange(self._size)
      image, self._images[slot] = self._images[slot], image
    return image


def _lsgan(scores, real):
  return functional.mse_loss(scores, torch.full_like(scores, float(real)))


class CycleGAN:
  """Generators, discriminators and optimizers, which `step` trains."""

  def __init__(self, blocks, width, identity=True, bf16=False, prepare=None):
    """Makes the networks and their optimizers.

    Args:
      blocks: number of residual blocks of the generators.
      width: number of channels of the first layers.
      identity: True for an identity loss.
      bf16: True to run the networks under bfloat16 autocast.
      prepare: function network -> network to use, such as `torch.compile`, or
        None.
    """
    prepare = prepare or (lambda net: net)
    self._a2b, self._b2a = (prepare(generator(blocks, width)) for _ in 'ab')
    self._discs = {d: prepare(discriminator(width)) for d in 'ab'}
    self._pools = {d: ImagePool() for d in 'ab'}
    self._optimizer_gen = _adam(self._a2b, self._b2a)
    self._optimizer_disc = _adam(*self._discs.values())
    self._identity = identity
    self._bf16 = bf16

  def step(self, a, b):
    """Updates the generators, then the discriminators with the image pools.

    Args:
      a: images of A, [batch, channels, height, width] in [-1, 1].
      b: images of B, of the same shape and range.
    """
    self._train_discs(False)
    self._optimizer_gen.zero_grad()
    with _autocast(self._bf16, a.device):
      loss, fakes = self._generator_loss(a, b)
    loss.backward()
    self._optimizer_gen.step()

    self._train_discs(True)
    self._optimizer_disc.zero_grad()
    for domain, real in (('b', b), ('a', a)):
      fake = self._pools[domain].exchange(fakes[domain].detach())
      with _autocast(self._bf16, a.device):
        on_real = _lsgan(self._discs[domain](real), True)
        on_fake = _lsgan(self._discs[domain](fake), False)
        loss = 0.5 * (on_real + on_fake)
      loss.backward()
    self._optimizer_disc.step()

  def _generator_loss(self, a, b):
    fake_b = self._a2b(a)
    cycled_a = self._b2a(fake_b)
    fake_a = self._b2a(b)
    cycled_b = self._a2b(fake_a)
    loss = 0.0
    if self._identity:
      loss += 5.0 * functional.l1_loss(self._a2b(b), b)
      loss += 5.0 * functional.l1_loss(self._b2a(a), a)
    loss += _lsgan(self._discs['b'](fake_b), True)
    loss += _lsgan(self._discs['a'](fake_a), True)
    loss += 10.0 * functional.l1_loss(cycled_a, a)
    loss += 10.0 * functional.l1_loss(cycled_b, b)
    return loss, {'a': fake_a, 'b': fake_b}

  def _train_discs(self, on):
    for net in self._discs.values():
      net.requires_grad_(on)


def _adam(*nets):
  parameters = itertools.chain(*(net.parameters() for net in nets))
  return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def _autocast(on, device):
  return torch.autocast(device.type, torch.bfloat16, enabled=on)


def _preparation(channels_last, compiled, device):
  """Returns a function network -> network of a variant on a device."""

  # The first step has to include the whole compilation, without a cache.
  torch.compiler.config.force_disable_caches = True

  torch.backends.cudnn.benchmark = True

  def prepare(net):
    net = net.to(device)
    if channels_last:
      net = net.to(memory_format=torch.channels_last)
    return torch.compile(net) if compiled else net

  return prepare


def _images(size, batch, channels_last, device):
  images = torch.rand(batch, 3, size, size, device=device) * 2 - 1
  if channels_last:
    images = images.contiguous(memory_format=torch.channels_last)
  return images


def trainer(
  work, channels_last=False, compiled=False, bf16=False, device='cpu'
):
  """Setup of a contender: a training step.

  Args:
    work: the `options.Work`: image size, batch size and size of the networks.
    channels_last: True for the memory format channels_last.
    compiled: True to use `torch.compile`.
    bf16: True for bfloat16 autocast.
    device: name of the device in PyTorch.

  Returns:
    (start, wait, facts) as `contenders.Contender` requires: start() starts a
    step, wait() waits for its results, and `facts` is an empty dict.
  """
  prepare = _preparation(channels_last, compiled, device)
  model = CycleGAN(work.blocks, work.width, work.identity, bf16, prepare)
  a, b = (_images(work.size, work.batch, channels_last, device) for _ in 'ab')
  return lambda: model.step(a, b), lambda: None, {}


def translator(
  work,
  channels_last=False,
  compiled=False,
  bf16=False,
  weights=None,
  device='cpu',
):
  """Setup of a contender: one forward pass of the generator.

  Args:
    work: the `options.Work`: image size, batch size and size of the networks.
    channels_last: True for the memory format channels_last.
    compiled: True to use `torch.compile`.
    bf16: True for bfloat16 autocast.
    weights: path of an official .pth file of the generator, or None for random
      weights.
    device: name of the device in PyTorch.

  Returns:
    (start, wait, facts) as `contenders.Contender` requires: start() starts a
    step, wait() waits for its results, and `facts` is a dict. After the first
    step, `facts` contains 'fake', the translation as a NumPy array [batch,
    height, width, channels].
  """
  prepare = _preparation(channels_last, compiled, device)
  net = generator(work.blocks, work.width).eval()
  if weights:
    # The layers have the same order here, but shorter names.
    state = torch.load(weights, weights_only=True).values()
    net.load_state_dict(dict(zip(net.state_dict(), state, strict=True)))
  net = prepare(net)
  pictures = options.random_batch(get_config(), work.batch, work.size)['a']
  images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
  images = images.to(device)
  if channels_last:
    images = images.contiguous(memory_format=torch.channels_last)

  facts = {}  # filled by the first translation

  def translate():
    with torch.inference_mode(), _autocast(bf16, images.device):
      fake = net(images)
    if not facts:
      facts['fake'] = fake.float().permute(0, 2, 3, 1).cpu().numpy()

  return translate, lambda: None, facts
