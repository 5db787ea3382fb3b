"""Generators as ONNX graphs for pictures of any size.

Written layer by layer, not traced: a convolution, a norm, a mirrored edge is
one node each, which runtimes have fast code for.
"""

import numpy as np
import onnx
from onnx import helper

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import HALF_RANGE
from cyclegan_jax.exporters.onnx_layers import Graph
from cyclegan_jax.nets.generators import ResnetGenerator, UnetGenerator

# Of 2021: what any runtime in use reads.
_OPSET, _IR_VERSION = 17, 8
_LAYOUTS = {'nhwc': 'batch height width {}', 'nchw': 'batch {} height width'}


def build(net, params, channels, shape, *, layout='nhwc', pixels=False):
  """The ONNX model of a generator.

  Args:
    net: a generator of this package.
    params: its parameters.
    channels: of the pictures it takes.
    shape: (batch, height, width), None for what stays open.
    layout: 'nhwc' or 'nchw', of input and output.
    pixels: whether both are uint8, in place of float32 in [-1, 1].

  Returns:
    An `onnx.ModelProto` with input `images` and output `translated`.

  Raises:
    UserError: a generator there is no graph for.
  """
  if type(net) not in _NETWORKS:
    names = ', '.join(sorted(known.__name__ for known in _NETWORKS))
    raise UserError(
      f'--format=onnx knows {names} and no {type(net).__name__}: use '
      '--format=stablehlo'
    )
  graph = Graph()
  images = _incoming(graph, 'images', layout, pixels)
  padded, corner = graph.pad_to_multiple(images, net.multiple)
  x = _NETWORKS[type(net)](graph, net, params, padded)
  x = graph.node('Tanh', x)
  _outgoing(graph, graph.crop_to(x, images, corner), layout, pixels)
  kind = onnx.TensorProto.UINT8 if pixels else onnx.TensorProto.FLOAT
  values = '0 to 255' if pixels else '-1 to 1'
  ends = [
    helper.make_tensor_value_info(
      name, kind, _sizes(shape, count, layout), values
    )
    for name, count in (('images', channels), ('translated', net.out_channels))
  ]
  model = helper.make_model(
    helper.make_graph(
      graph.nodes, 'generator', ends[:1], ends[1:], graph.constants
    ),
    producer_name='cyclegan_jax',
    ir_version=_IR_VERSION,
    opset_imports=[helper.make_opsetid('', _OPSET)],
  )
  onnx.checker.check_model(model)
  return model


def _resnet(graph, net, params, x):
  """`ResnetGenerator`, but for its tanh."""

  def finish(x, name):
    return graph.node('Relu', _normalize(graph, net, params, x, name))

  x = finish(graph.convolve_mirrored(x, params['first']), 'first')
  for name in ('down_1', 'down_2'):
    x = finish(graph.convolve(x, params[name], stride=2, padding=1), name)
  for i in range(net.depth):
    x = _residual_block(graph, net, params[f'block_{i}'], x)
  for name in ('up_1', 'up_2'):
    x = finish(graph.upsample(x, params[name], net.upsampling), name)
  return graph.convolve_mirrored(x, params['last'])


def _residual_block(graph, net, params, x):
  y = graph.convolve_mirrored(x, params['conv_1'])
  y = _normalize(graph, net, params, y, 'conv_1', 'norm_1')
  y = graph.convolve_mirrored(graph.node('Relu', y), params['conv_2'])
  return graph.node(
    'Add', x, _normalize(graph, net, params, y, 'conv_2', 'norm_2')
  )


def _unet(graph, net, params, x):
  """`UnetGenerator`, but for its tanh."""
  skips = []
  for i in range(net.depth):
    if i > 0:
      skips.append(x)
      x = graph.node('LeakyRelu', x, alpha=0.2)
    x = graph.convolve(x, params[f'down_{i}'], stride=2, padding=1)
    if 0 < i < net.depth - 1:
      x = _normalize(graph, net, params, x, f'down_{i}')
  for i in reversed(range(net.depth)):
    x = graph.node('Relu', x)
    x = graph.upsample(x, params[f'up_{i}'], net.upsampling)
    if i > 0:
      x = _normalize(graph, net, params, x, f'up_{i}')
      x = graph.node('Concat', skips.pop(), x, axis=1)
  return x


def _normalize(graph, net, params, x, name, norm=None):
  """The norm behind the convolution `name`."""
  channels = params[name]['kernel'].shape[-1]
  weights = params.get(norm or f'{name}_norm', {})
  return graph.normalize(x, weights, channels, net.norm)


# class -> its layers
_NETWORKS = {ResnetGenerator: _resnet, UnetGenerator: _unet}


def _sizes(shape, channels, layout):
  """Numbers, and names for what stays open."""
  known = dict(zip(('batch', 'height', 'width'), shape))
  axes = _LAYOUTS[layout].format(channels).split()
  return [int(x) if x.isdigit() else known[x] or x for x in axes]


def _incoming(graph, x, layout, pixels):
  if pixels:
    x = graph.node('Cast', x, to=onnx.TensorProto.FLOAT)
    x = graph.node('Div', x, np.float32(HALF_RANGE))
    x = graph.node('Sub', x, np.float32(1))
  if layout == 'nhwc':
    x = graph.node('Transpose', x, perm=[0, 3, 1, 2])
  return x


def _outgoing(graph, x, layout, pixels):
  if layout == 'nhwc':
    x = graph.node('Transpose', x, perm=[0, 2, 3, 1])
  if pixels:
    x = graph.node('Add', x, np.float32(1))
    x = graph.node('Round', graph.node('Mul', x, np.float32(HALF_RANGE)))
    x = graph.node('Cast', x, to=onnx.TensorProto.UINT8)
  graph.node('Identity', x, output='translated')
