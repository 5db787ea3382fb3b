"""Converts generators to ONNX graphs for images of any size.

The graph is written layer by layer, not traced: each convolution, norm and
padding is a single node, for which runtimes have fast code.
"""

from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import HALF_RANGE
from cyclegan_jax.exporters.onnx_layers import Graph
from cyclegan_jax.nets.generators import Generator
from cyclegan_jax.nets.verbs import Reader

# Versions of 2021, which all current runtimes read.
_OPSET, _IR_VERSION = 17, 8
_LAYOUTS = {'nhwc': 'batch height width {}', 'nchw': 'batch {} height width'}


def encoded(wanted):
  """Builds the ONNX program that was asked for and returns its file as bytes.

  Args:
    wanted: the `formats.Wanted`: model, direction, layout and type of the
      program.

  Raises:
    UserError: the generator has a layer or option that is not supported in
      ONNX.
  """
  model = build(
    *wanted.network(),
    wanted.channels,
    wanted.shape,
    layout=wanted.layout,
    pixels=wanted.pixels,
    half=wanted.weights == 'float16',
  )
  return model.SerializeToString()


def runner(source):
  """Returns an ONNX program as a function: images -> translations.

  The program runs in onnxruntime on the CPU.

  Args:
    source: path or contents (bytes) of the ONNX file.
  """
  import onnxruntime

  session = onnxruntime.InferenceSession(
    source, providers=['CPUExecutionProvider']
  )
  return lambda images: session.run(None, {'images': images})[0]


def build(
  net, params, channels, shape, *, layout='nhwc', pixels=False, half=False
):
  """Returns the ONNX model of a generator.

  Args:
    net: a generator of this package.
    params: parameters of `net`.
    channels: number of channels of the input.
    shape: (batch, height, width) of the input, with None for an open size.
    layout: 'nhwc' or 'nchw', the layout of input and output.
    pixels: if True, input and output are uint8; if False, float32 in [-1, 1].
    half: if True, the kernels of convolutions are stored in float16.

  Returns:
    An `onnx.ModelProto` with input `images` and output `translated`.

  Raises:
    UserError: `net` is not a generator, or has a layer or option that is not
      supported in ONNX.
  """
  if not isinstance(net, Generator):
    kind = type(net).__name__
    raise UserError(
      f'--format=onnx does not support {kind}: use --format=stablehlo'
    )
  graph = Graph(half)
  images = _incoming(graph, 'images', layout, pixels)
  padded, corner = graph.pad_to_multiple(images, net.multiple)
  last = net.layers(Nodes(graph, net, params), Value(padded, channels))
  x = graph.node('Tanh', last.node)
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


class Value(NamedTuple):
  """Output of a node of an ONNX graph, which the verbs of `Nodes` return.

  Attributes:
    node: name of the output.
    channels: number of channels of the output.
  """

  node: str
  channels: int


class Nodes(Reader):
  """Reader that adds the layers of a network to an ONNX graph.

  A network calls one method (verb) of a reader per layer; see `nets.verbs`. The
  verbs here take and return a `Value`, the output of a node.

  Attributes:
    graph: the `Graph` to which nodes are added.
    net: the network.
    params: parameters of the network; in the reader of a residual block, those
      of the block.
  """

  what = '--format=onnx'

  def __init__(self, graph, net, params):
    self.graph, self.net, self.params = graph, net, params

  def pad(self, x, size, mode='reflect'):
    modes = {'reflect': 'reflect', 'replicate': 'edge'}
    mode = self.known(modes, mode, 'generator.padding')
    return x._replace(node=self.graph.pad(x.node, size, mode))

  def conv(self, x, name, features, kernel, *, stride=1, padding=0, bias=None):
    node = self.graph.convolve(
      x.node, self.params[name], stride=stride, padding=padding
    )
    return Value(node, features)

  def conv_transpose(self, x, name, features, kernel, *, bias=None):
    node = self.graph.convolve_transposed(x.node, self.params[name])
    return Value(node, features)

  def normalize(self, x, name):
    weights = self.params.get(name, {})
    norm = self.net.norm
    node = self.graph.normalize(x.node, weights, x.channels, norm)
    return x._replace(node=node)

  def activate(self, x, kind):
    kinds = {'relu': ('Relu', {}), 'leaky_relu': ('LeakyRelu', {'alpha': 0.2})}
    operator, attributes = self.known(kinds, kind, 'activation')
    return x._replace(node=self.graph.node(operator, x.node, **attributes))

  def dropout(self, x, rate):
    return x  # no dropout in translation

  def residual_blocks(self, x, names, layers):
    for name in names:
      y = layers(Nodes(self.graph, self.net, self.params[name]), x)
      x = x._replace(node=self.graph.node('Add', x.node, y.node))
    return x

  def skip(self, x, layers):
    y = layers(x)
    node = self.graph.node('Concat', x.node, y.node, axis=1)
    return Value(node, x.channels + y.channels)

  def double(self, x):
    return x._replace(node=self.graph.double(x.node, 'nearest'))

  def blur_down(self, x):
    return x._replace(node=self.graph.blur_down(x.node, x.channels))

  def blur_up(self, x):
    # Doubling by [1, 3, 3, 1] / 4 with repeated edges is linear interpolation.
    return x._replace(node=self.graph.double(x.node, 'linear'))

  def tap(self, x, name):
    return x


def _sizes(shape, channels, layout):
  """Returns the shape in a layout: numbers, and names of open sizes."""
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
