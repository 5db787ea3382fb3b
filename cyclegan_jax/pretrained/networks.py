"""VGG-16, AlexNet and Inception-v3 as pure functions of weights and images.

The functions take parameters {layer: {'kernel': [height, width, inputs,
outputs], 'bias': [outputs]}}, as loaded by `pretrained.weights`, and images
[batch, height, width, 3 or 1] in [-1, 1]. They compute in the images' dtype,
with full precision on all devices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from cyclegan_jax.common.errors import UserError, lookup

# ImageNet's mean [0.485, 0.456, 0.406] and standard deviation [0.229, 0.224,
# 0.225] of values in [0, 1], converted to values in [-1, 1].
_MEAN = np.float32([-0.030, -0.088, -0.188])
_DEVIATION = np.float32([0.458, 0.448, 0.450])


class Trunk(NamedTuple):
  """Sequence of convolutions, each followed by a ReLU: VGG-16 or AlexNet.

  Attributes:
    name: name of the network, for error messages.
    convs: {layer: (stride, padding)} of the convolutions in their order.
    pooled: layers whose input is max pooled, with stride 2.
    window: side of the max pooling window in pixels.
    outputs: names of the results: 'relu1' is the ReLU of 'conv1'.
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
  """Returns features of VGG-16 (Simonyan and Zisserman 2015), no classifier.

  Args:
    params: {layer: {'kernel', 'bias'}}, the 'trunk' of `weights.vgg16`.
    images: [batch, height, width, 3 or 1] in [-1, 1].
    until: name of the last output to compute; None computes all.

  Returns:
    {output: [batch, height / s, width / s, channels]} for the outputs
    'relu1_2', 'relu2_2', 'relu3_3', 'relu4_2', 'relu4_3' and 'relu5_3', with s
    = 1, 2, 4, 8, 8 and 16.

  Raises:
    UserError: a side has fewer than 16 pixels, the images have neither 1 nor 3
      channels, or `until` is unknown.
  """
  return _run(VGG16, params, images, until)


def alexnet(params, images, until=None):
  """Returns features of one-column AlexNet (Krizhevsky 2014), no classifier.

  Args:
    params: {layer: {'kernel', 'bias'}}, the 'trunk' of `weights.alexnet`.
    images: [batch, height, width, 3 or 1] in [-1, 1].
    until: name of the last output to compute; None computes all.

  Returns:
    {output: [batch, layer_height, layer_width, channels]} for the outputs
    'relu1' to 'relu5'.

  Raises:
    UserError: a side has fewer than 31 pixels, the images have neither 1 nor 3
      channels, or `until` is unknown.
  """
  return _run(ALEXNET, params, images, until)


def embed_vgg16(params, images):
  """Returns VGG-16's output 'relu5_3', averaged over the pixels of each image.

  Args:
    params: {layer: {'kernel', 'bias'}}, the 'trunk' of `weights.vgg16`.
    images: [batch, height, width, 3 or 1] in [-1, 1].

  Returns:
    Features [batch, 512].

  Raises:
    UserError: a side has fewer than 16 pixels, or the images have neither 1 nor
      3 channels.
  """
  return vgg16(params, images)['relu5_3'].mean((1, 2))


def embed_alexnet(params, images):
  """Returns AlexNet's output 'relu5', averaged over the pixels of each image.

  Args:
    params: {layer: {'kernel', 'bias'}}, the 'trunk' of `weights.alexnet`.
    images: [batch, height, width, 3 or 1] in [-1, 1].

  Returns:
    Features [batch, 256].

  Raises:
    UserError: a side has fewer than 31 pixels, or the images have neither 1 nor
      3 channels.
  """
  return alexnet(params, images)['relu5'].mean((1, 2))


def until(params, output):
  """Selects the parameters that are needed to compute one output of a trunk.

  Args:
    params: parameters of `vgg16` or `alexnet`, in the order of the layers.
    output: name of an output, such as 'relu4_2'.

  Returns:
    The parameters of all layers up to and including the output's layer.
  """
  names = list(params)
  last = names.index(_layer(output))
  return {name: params[name] for name in names[: last + 1]}


def _layer(output):
  """Returns the name of an output's convolution: 'relu1' -> 'conv1'."""
  return output.replace('relu', 'conv')


def _run(trunk, params, images, last):
  """Returns {output: features} of a `Trunk`, up to the output `last`."""
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
        f'for {trunk.name}: use larger pictures, or leave out its metrics'
      )
    if name in layers:
      outputs[layers[name]] = x
    if layers.get(name) == last:
      return outputs


def _rgb(images):
  """Returns gray or RGB images as [b, h, w, 3]; else raises `UserError`."""
  channels = images.shape[-1]
  if channels not in (1, 3):
    raise UserError(
      f'pictures of {channels} channels: the pretrained networks of metrics '
      'need gray or RGB pictures; choose other metrics'
    )
  return jnp.broadcast_to(images, (*images.shape[:-1], 3))


def _conv_relu(params, x, stride, padding):
  """Returns the ReLU of a convolution with bias."""
  y = lax.conv_general_dilated(
    x,
    jnp.asarray(params['kernel'], x.dtype),
    (stride, stride),
    padding,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    # By default TPUs and GPUs use fewer bits, and metrics would depend on the
    # device.
    precision=lax.Precision.HIGHEST,
  )
  bias = jnp.asarray(params['bias'], x.dtype)
  return nn.relu(y + bias.reshape(1, 1, 1, -1))


# Layers of Inception's branches in their order: 'NAME' keeps the size, 'NAME/s'
# has no padding and stride s. Branches that start with the same layer names
# share these layers.
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
  # FID's published network has max pooling here, so every FID needs it.
  | {'Mixed_7c': (*_E, ('max', 'branch_pool'))}
)


def inception(params, images, resize='clean'):
  """Returns FID's features: the last pooling layer of Inception-v3.

  The network is PyTorch-FID's (Heusel et al. 2017): average pooling does not
  count padded pixels.

  Args:
    params: {layer: {'kernel', 'bias'}} with batch norm folded in, as loaded by
      `weights.inception`.
    images: [batch, height, width, 3 or 1] in [-1, 1], of any size.
    resize: method of resizing to 299x299. 'clean' uses an antialiased bicubic
      filter, as clean-fid does (Parmar et al. 2022); 'pytorch-fid' interpolates
      bilinearly between the two nearest pixels per axis, without antialiasing.

  Returns:
    Features [batch, 2048].

  Raises:
    UserError: the images have neither 1 nor 3 channels, or `resize` is unknown.
  """
  x = lookup(RESIZES, resize, 'resize')(_rgb(images))
  x = _path(params, x, _STEM)
  for block, branches in _BLOCKS.items():
    results = [_path(params, x, steps, f'{block}.') for steps in branches]
    x = jnp.concatenate(results, -1)
  return x.mean((1, 2))


def _path(params, x, steps, block=''):
  """Applies the layers of one of Inception's branches to x [b, h, w, c]."""
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
  """Average pooling that does not count padded pixels."""
  return nn.avg_pool(x, *window, count_include_pad=False)


_POOLS = {'max': nn.max_pool, 'average': _average}


def resize_clean(images):
  """Resizes images to 299x299 as clean-fid does: bicubic, antialiased.

  Equals Pillow's BICUBIC filter on float32 values, clipped to [-1, 1].

  Args:
    images: [batch, height, width, channels] in [-1, 1].

  Returns:
    [batch, 299, 299, channels] in [-1, 1].
  """
  shape = images.shape[0], 299, 299, images.shape[3]
  return jnp.clip(jax.image.resize(images, shape, 'cubic'), -1, 1)


def resize_pytorch_fid(images):
  """Resizes images to 299x299 as PyTorch-FID does: bilinear, not antialiased.

  Equals PyTorch's `interpolate` in mode 'bilinear'.

  Args:
    images: [batch, height, width, channels].

  Returns:
    [batch, 299, 299, channels].
  """
  shape = images.shape[0], 299, 299, images.shape[3]
  return jax.image.resize(images, shape, 'linear', antialias=False)


RESIZES = {'clean': resize_clean, 'pytorch-fid': resize_pytorch_fid}
