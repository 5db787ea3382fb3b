"""Converts generators to TFLite files, for phones and other small devices.

The program is written layer by layer in operators that every TFLite runtime has
built in. The operators that JAX exports are not built in.
"""

import jax
import numpy as np

from cyclegan_jax.common import disk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import HALF_RANGE
from cyclegan_jax.common.quiet import silent_stderr
from cyclegan_jax.data.tf import tf
from cyclegan_jax.exporters import tflite_layers as layers
from cyclegan_jax.nets.generators import Generator
from cyclegan_jax.nets.verbs import Reader

# Height and width of an input of open size, before a user resizes it.
SIZE = 256
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def write(path, wanted):
  """Writes a TFLite file.

  Args:
    path: path of the file.
    wanted: the `formats.Wanted`: model, direction, layout and type of the
      program.

  Raises:
    UserError: the generator has a layer or option that is not supported in
      TFLite, the fixed size is too small, or the file cannot be written.
  """
  data = build(
    *wanted.network(),
    wanted.input(wanted.shape),
    layout=wanted.layout,
    pixels=wanted.pixels,
    half=wanted.weights == 'float16',
  )
  disk.fill(path, data)


def build(net, params, shape, *, layout='nhwc', pixels=False, half=False):
  """Returns the contents of a generator's TFLite file, as bytes.

  Args:
    net: a generator of this package.
    params: parameters of `net`.
    shape: shape of the input in its layout, with None for an open size.
    layout: 'nhwc' or 'nchw', the layout of input and output.
    pixels: if True, input and output are uint8; if False, float32 in [-1, 1].
    half: if True, weights are stored in float16.

  Raises:
    UserError: `net` is not a generator, or has a layer or option that is not
      supported in TFLite, or the size in `shape` is too small.
  """
  if not isinstance(net, Generator):
    kind = type(net).__name__
    raise UserError(
      f'--format=tflite does not support {kind}: use --format=stablehlo'
    )
  params = jax.tree.map(np.float32, params)
  kind = tf.uint8 if pixels else tf.float32
  module = tf.Module()
  module.translate = tf.function(
    lambda images: {'translated': _translate(net, params, images, layout)},
    input_signature=[tf.TensorSpec(shape, kind, 'images')],
    autograph=False,
  )
  with silent_stderr():
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [module.translate.get_concrete_function()], module
    )
    if half:
      converter.optimizations = [tf.lite.Optimize.DEFAULT]
      converter.target_spec.supported_types = [tf.float16]
    data = bytearray(converter.convert())
  _set_size(data, shape, layout)
  return bytes(data)


def _translate(net, params, images, layout):
  x = tf.transpose(images, _TO_NHWC) if layout == 'nchw' else images
  if images.dtype == tf.uint8:
    x = tf.cast(x, tf.float32) / HALF_RANGE - 1
  padded, corner = layers.pad_to_multiple(x, net.multiple)
  y = tf.tanh(net.layers(Layers(net, params), padded))
  y = layers.crop_to(y, x, corner)
  if images.dtype == tf.uint8:
    y = tf.cast(tf.round((y + 1) * HALF_RANGE), tf.uint8)
  return tf.transpose(y, _TO_NCHW) if layout == 'nchw' else y


def _set_size(data, shape, layout):
  """Sets the open sizes in a file's bytes to `SIZE`; the converter sets 1."""
  from ai_edge_litert import schema_py_generated as schema

  graph = schema.Model.GetRootAs(data).Subgraphs(0)
  first = graph.Tensors(graph.Inputs(0)).ShapeAsNumpy()
  for axis in (2, 3) if layout == 'nchw' else (1, 2):
    first[axis] = shape[axis] or SIZE


def runner(data):
  """Returns a TFLite program as a function: images -> translations.

  The program runs in LiteRT, which resizes its input to each size of images.

  Args:
    data: contents of the TFLite file, as bytes.
  """
  from ai_edge_litert.interpreter import Interpreter

  with silent_stderr():
    program = Interpreter(model_content=data)
  (given,) = program.get_input_details()
  (made,) = program.get_output_details()

  def translate(images):
    with silent_stderr():
      program.resize_tensor_input(given['index'], images.shape, strict=True)
      program.allocate_tensors()
    program.set_tensor(given['index'], images)
    program.invoke()
    return program.get_tensor(made['index'])

  return translate


class Layers(Reader):
  """Reader that computes the layers of a network by TensorFlow operators.

  A network calls one method (verb) of a reader per layer; see `nets.verbs`. The
  verbs here take and return tensors [batch, height, width, channels].

  Attributes:
    net: the network.
    params: parameters of the network; in the reader of a residual block, those
      of the block.
  """

  what = '--format=tflite'

  def __init__(self, net, params):
    self.net, self.params = net, params

  def pad(self, x, size, mode='reflect'):
    modes = {'reflect': range(1, size + 1), 'replicate': [0] * size}
    places = self.known(modes, mode, 'generator.padding')
    least = max(places) + 1
    if any(isinstance(x, int) and x < least for x in layers.sizes(x)):
      raise UserError(
        f'--size is too small for {self.what}: a ResNet needs at least 5x5'
      )
    return layers.pad(x, places)

  def conv(self, x, name, features, kernel, *, stride=1, padding=0, bias=None):
    params = self.params[name]
    return layers.convolve(x, params, stride=stride, padding=padding)

  def conv_transpose(self, x, name, features, kernel, *, bias=None):
    return layers.convolve_transposed(x, self.params[name])

  def normalize(self, x, name):
    return layers.normalize(x, self.params.get(name, {}), self.net.norm)

  def activate(self, x, kind):
    kinds = {
      'relu': tf.nn.relu,
      'leaky_relu': lambda x: tf.nn.leaky_relu(x, 0.2),
    }
    return self.known(kinds, kind, 'activation')(x)

  def dropout(self, x, rate):
    return x  # no dropout in translation

  def residual_blocks(self, x, names, layers):
    for name in names:
      x = x + layers(Layers(self.net, self.params[name]), x)
    return x

  def skip(self, x, layers):
    return tf.concat([x, layers(x)], -1)

  def double(self, x):
    return layers.double(x)

  def blur_down(self, x):
    return layers.blur_down(x)

  def blur_up(self, x):
    return layers.blur_up(x)

  def tap(self, x, name):
    return x
