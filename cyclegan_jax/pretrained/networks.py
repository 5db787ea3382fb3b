"""Pretrained networks that pictures are compared by, as pure functions.

Each takes {layer: {'kernel': [h, w, inputs, outputs], 'bias': [outputs]}}
(`weights`) and images [b, h, w, 3] in [-1, 1], or gray ones [b, h, w, 1]. It
computes in the images' dtype, in full precision on any device.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from cyclegan_jax.common.errors import UserError, lookup

# ImageNet's mean and deviation, [0.485, 0.456, 0.406] and [0.229, 0.224,
# 0.225] of [0, 1], for images in [-1, 1].
_MEAN = np.float32([-0.030, -0.088, -0.188])
_DEVIATION = np.float32([0.458, 0.448, 0.450])


class Trunk(NamedTuple):
  """Convolutions in a row, a ReLU behind each.

  Attributes:
    name: as a user knows the network.
    convs: {layer: (stride, padding)}, in order.
    pooled: layers whose input is pooled, with stride 2.
    window: of the max pooling, in pixels.
    outputs: what the network gives; 'relu1' is behind 'conv1'.
  """

  name: str
  convs: dict
  pooled: tuple
  window: int
  outputs: tuple


VGG16 = Trunk(
  'VGG-16',
  convs={
    f'conv{block}_{i}': (1, 1)
    for block, count in enumerate((2, 2, 3, 3, 3), 1)
    for i in range(1, count + 1)
  },
  pooled=('conv2_1', 'conv3_1', 'conv4_1', 'conv5_1'),
  window=2,
  outputs=('relu1_2', 'relu2_2', 'relu3_3', 'relu4_2', 'relu4_3', 'relu5_3'),
)
ALEXNET = Trunk(
  'AlexNet',
  convs={
    'conv1': (4, 2),
    'conv2': (1, 2),
    'conv3': (1, 1),
    'conv4': (1, 1),
    'conv5': (1, 1),
  },
  pooled=('conv2', 'conv3'),
  window=3,
  outputs=('relu1', 'relu2', 'relu3', 'relu4', 'relu5'),
)


def vgg16(params, images, until=None):
  """VGG-16 (Simonyan and Zisserman 2015), without its classifier.

  Args:
    params: as above.
    images: as above.
    until: the last output wanted; nothing is computed behind it.

  Returns:
    {'relu1_2', 'relu2_2', 'relu3_3', 'relu4_2', 'relu4_3', 'relu5_3': [b, h /
    s, w / s, channels]}, with s = 1, 2, 4, 8, 8, 16.

  Raises:
    UserError: fewer than 16 pixels a side, or neither 1 nor 3 channels.
  """
  return _run(VGG16, params, images, until)


def alexnet(params, images, until=None):
  """AlexNet with one column (Krizhevsky 2014), without its classifier.

  Args:
    params: as above.
    images: as above.
    until: the last output wanted; nothing is computed behind it.

  Returns:
    {'relu1', ..., 'relu5': [b, height, width, channels]}.

  Raises:
    UserError: fewer than 31 pixels a side, or neither 1 nor 3 channels.
  """
  return _run(ALEXNET, params, images, until)


def embed_vgg16(params, images):
  """The mean of 'relu5_3' over each picture [b, 512]."""
  return vgg16(params, images)['relu5_3'].mean((1, 2))


def embed_alexnet(params, images):
  """The mean of 'relu5' over each picture [b, 256]."""
  return alexnet(params, images)['relu5'].mean((1, 2))


def until(params, output):
  """Those of a trunk's parameters that an output such as 'relu4_2' needs."""
  names = list(params)
  last = names.index(_layer(output))
  return {name: params[name] for name in names[: last + 1]}


def _layer(output):
  return output.replace('relu', 'conv')


def _run(trunk, params, images, last):
  last = last or trunk.outputs[-1]
  lookup(dict.fromkeys(trunk.outputs), last, 'until')
  x = _rgb(images)
  x = (x - _MEAN.reshape(1, 1, 1, 3)) / _DEVIATION.reshape(1, 1, 1, 3)
  x = x.astype(images.dtype)
  outputs = {}
  layers = {_layer(output): output for output in trunk.outputs}
  for name, (stride, padding) in trunk.convs.items():
    if name in trunk.pooled:
      x = nn.max_pool(x, (trunk.window,) * 2, (2, 2))
    x = _conv_relu(params[name], x, stride, [(padding, padding)] * 2)
    if 0 in x.shape[1:]:
      raise UserError(
        f'pictures of {images.shape[1]}x{images.shape[2]} pixels are too small '
        f'for {trunk.name}: give larger ones or leave out its metrics'
      )
    if name in layers:
      outputs[layers[name]] = x
    if layers.get(name) == last:
      return outputs


def _rgb(images):
  channels = images.shape[-1]
  if channels not in (1, 3):
    raise UserError(
      f'pictures of {channels} channels: the pretrained networks of the '
      'metrics take gray or RGB'
    )
  return jnp.broadcast_to(images, (*images.shape[:-1], 3))


def _conv_relu(params, x, stride, padding):
  y = lax.conv_general_dilated(
    x,
    jnp.asarray(params['kernel'], x.dtype),
    (stride, stride),
    padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    # TPUs and GPUs would round to fewer bits: the numbers are for comparison.
    precision=lax.Precision.HIGHEST,
  )
  bias = jnp.asarray(params['bias'], x.dtype)
  return nn.relu(y + bias.reshape(1, 1, 1, -1))


# Inception's branches, layer behind layer: 'NAME' keeps the size, 'NAME/s' has
# no padding and stride s. Branches that begin alike share what is alike.
_STEM = (
  ('Conv2d_1a_3x3/2', 'Conv2d_2a_3x3/1', 'Conv2d_2b_3x3', 'max/2')
  + ('Conv2d_3b_1x1', 'Conv2d_4a_3x3/1', 'max/2')
)  # fmt: skip
_A = (
  ('branch1x1',),
  ('branch5x5_1', 'branch5x5_2'),
  ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'),
  ('average', 'branch_pool'),
)
_B = (
  ('branch3x3/2',),
  ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3/2'),
  ('max/2',),
)
_C = (
  ('branch1x1',),
  tuple(f'branch7x7_{i}' for i in (1, 2, 3)),
  tuple(f'branch7x7dbl_{i}' for i in (1, 2, 3, 4, 5)),
  ('average', 'branch_pool'),
)
_D = (
  ('branch3x3_1', 'branch3x3_2/2'),
  ('branch7x7x3_1', 'branch7x7x3_2', 'branch7x7x3_3', 'branch7x7x3_4/2'),
  ('max/2',),
)
_E = (
  ('branch1x1',),
  ('branch3x3_1', 'branch3x3_2a'),
  ('branch3x3_1', 'branch3x3_2b'),
  ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3a'),
  ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3b'),
)
_BLOCKS = (
  dict.fromkeys(('Mixed_5b', 'Mixed_5c', 'Mixed_5d'), _A)
  | {'Mixed_6a': _B}
  | dict.fromkeys(('Mixed_6b', 'Mixed_6c', 'Mixed_6d', 'Mixed_6e'), _C)
  | {'Mixed_7a': _D}
  | {'Mixed_7b': (*_E, ('average', 'branch_pool'))}
  # The published network takes the maximum here, so all FIDs do.
  | {'Mixed_7c': (*_E, ('max', 'branch_pool'))}
)


def inception(params, images, resize='clean'):
  """FID's features (Heusel et al. 2017): Inception-v3's last pooling layer.

  The network is PyTorch-FID's, average pools not counting what is padded.

  Args:
    params: as above, with batch norm folded in (`weights.inception`).
    images: as above, of any size.
    resize: to 299x299, 'clean' with an antialiased bicubic filter, as
      clean-fid does (Parmar et al. 2022), or 'pytorch-fid', which takes two
      pixels a side however large the picture is.

  Returns:
    [b, 2048].

  Raises:
    UserError: neither 1 nor 3 channels, or another `resize`.
  """
  x = lookup(RESIZES, resize, 'resize')(_rgb(images))
  x = _path(params, x, _STEM)
  for block, branches in _BLOCKS.items():
    results = [_path(params, x, steps, f'{block}.') for steps in branches]
    x = jnp.concatenate(results, -1)
  return x.mean((1, 2))


def _path(params, x, steps, block=''):
  for step in steps:
    name, _, stride = step.partition('/')
    padding = 'VALID' if stride else 'SAME'
    stride = int(stride or 1)
    if name in _POOLS:
      x = _POOLS[name](x, (3, 3), (stride, stride), padding)
    else:
      x = _conv_relu(params[block + name], x, stride, padding)
  return x


def _average(x, *window):
  return nn.avg_pool(x, *window, count_include_pad=False)


_POOLS = {'max': nn.max_pool, 'average': _average}


def resize_clean(images):
  """To 299x299 as Pillow's BICUBIC does on single floats, and cut at +-1."""
  shape = images.shape[0], 299, 299, images.shape[3]
  return jnp.clip(jax.image.resize(images, shape, 'cubic'), -1, 1)


def resize_pytorch_fid(images):
  """To 299x299 as PyTorch's `interpolate`, bilinear and not antialiased."""
  shape = images.shape[0], 299, 299, images.shape[3]
  return jax.image.resize(images, shape, 'linear', antialias=False)


RESIZES = {'clean': resize_clean, 'pytorch-fid': resize_pytorch_fid}
