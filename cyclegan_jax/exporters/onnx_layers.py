"""The layers of generators, as nodes of an ONNX graph.

Pictures are float32 [batch, channels, height, width], as runtimes want them.
"""

import numpy as np
import onnx
from onnx import helper

from cyclegan_jax.nets.blur import DOWN
from cyclegan_jax.nets.layers import EPSILON

_ROWS, _COLUMNS = 2, 3


class Graph:
  """Nodes and constants in order.

  Attributes:
    nodes: list of `onnx.NodeProto`.
    constants: list of `onnx.TensorProto`.
    half: whether kernels are stored in float16. Nodes compute in float32.
  """

  def __init__(self, half=False):
    self.nodes, self.constants, self.half = [], [], half

  def node(self, kind, *inputs, output=None, **attributes):
    """Adds a node.

    Args:
      kind: ONNX's name of the operator.
      *inputs: names of other nodes' outputs, and arrays for constants.
      output: what its output is called; by default a new name.
      **attributes: of the operator.

    Returns:
      The output's name.
    """
    names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
    output = output or f'{kind.lower()}_{len(self.nodes)}'
    self.nodes.append(helper.make_node(kind, names, [output], **attributes))
    return output

  def _constant(self, array):
    name = f'constant_{len(self.constants)}'
    array = np.array(array, order='C')
    self.constants.append(onnx.numpy_helper.from_array(array, name))
    return name

  def numbers(self, kind, x, value):
    """An operator on x, whole numbers, and one such number."""
    return self.node(kind, x, np.int64(value))

  def size(self, x, axis):
    """x's size along an axis, known when the graph runs, as [1]."""
    return self.node('Shape', x, start=axis, end=axis + 1)

  def kernel(self, array):
    """A kernel in the type that it is stored in; a name or an array."""
    if not self.half:
      return array
    with np.errstate(over='ignore'):  # the trial of the program finds it
      stored = array.astype(np.float16)
    return self.node('Cast', stored, to=onnx.TensorProto.FLOAT)

  def convolve(self, x, params, *, stride=1, padding=0):
    """A convolution by kernel [h, w, inputs, outputs] and bias, if any."""
    kernel, *bias = _weights(params, 'kernel', 'bias')
    kernel = np.transpose(kernel, (3, 2, 0, 1))
    return self.node(
      'Conv',
      x,
      self.kernel(kernel),
      *bias,
      strides=[stride] * 2,
      pads=[padding] * 4,
    )

  def convolve_transposed(self, x, params):
    """A transposed convolution that doubles height and width."""
    kernel, *bias = _weights(params, 'kernel', 'bias')
    # Seen from the output, which ONNX's is: turned round.
    kernel = np.transpose(kernel[::-1, ::-1], (2, 3, 0, 1))
    return self.node(
      'ConvTranspose',
      x,
      self.kernel(kernel),
      *bias,
      strides=[2, 2],
      pads=[1] * 4,
      output_padding=[kernel.shape[2] % 2] * 2,
    )

  def double(self, x, mode):
    """Doubles height and width; `mode` is 'nearest' or 'linear'."""
    options = {
      'nearest': {
        'coordinate_transformation_mode': 'asymmetric',
        'nearest_mode': 'floor',
      },
      'linear': {'coordinate_transformation_mode': 'half_pixel'},
    }
    scales = np.float32([1, 1, 2, 2])
    return self.node('Resize', x, '', scales, mode=mode, **options[mode])

  def blur_down(self, x, channels):
    """Blurs and takes every other pixel, as `nets.blur.down` does."""
    kernel = np.tile(np.outer(DOWN, DOWN), (channels, 1, 1, 1))
    return self.node(
      'Conv',
      self.pad(x, 1, 'reflect'),
      kernel.astype(np.float32),
      strides=[2, 2],
      group=channels,
    )

  def pad(self, x, size, mode):
    """Adds `size` pixels at every edge; `mode` is ONNX's name of what."""
    pads = np.int64([0, 0, size, size, 0, 0, size, size])
    return self.node('Pad', x, pads, mode=mode)

  def normalize(self, x, params, channels, norm):
    """A norm: by each picture's statistics, or by averages among `params`.

    Args:
      x: name of the picture.
      params: what there is of scale, bias, mean, var. Official files have
        averages (mean, var) that 'batch' does not use.
      channels: of the picture.
      norm: a name of `layers.NORMS`; 'batch' as for a batch of one picture.
    """
    if norm == 'none':
      return x
    none = {'scale': np.ones(channels), 'bias': np.zeros(channels)}
    frozen = norm == 'batch_frozen'
    names = ['scale', 'bias', *['mean', 'var'] * frozen]
    weights = _weights(none | dict(params), *names)
    kind = 'Batch' if frozen else 'Instance'
    return self.node(f'{kind}Normalization', x, *weights, epsilon=EPSILON)

  def pad_to_multiple(self, x, multiple):
    """Pads as `layers.pad_to_multiple`, to the size that is known at run time.

    By indices: a picture smaller than what is added is mirrored again and
    again, which no Pad does.

    Returns:
      The padded picture, and what `crop_to` needs.
    """
    corner = {}
    for axis in (_ROWS, _COLUMNS):
      size = self.node('Squeeze', self.size(x, axis))
      extra = self.numbers('Mod', self.node('Neg', size), multiple)
      before = self.numbers('Div', extra, 2)
      end = self.node('Add', size, self.node('Sub', extra, before))
      places = self.node('Range', self.node('Neg', before), end, np.int64(1))
      period = self.numbers('Mul', self.numbers('Sub', size, 1), 2)
      period = self.numbers('Max', period, 1)
      places = self.node('Mod', places, period)
      back = self.node('Sub', period, places)
      x = self.node('Gather', x, self.node('Min', places, back), axis=axis)
      corner[axis] = self.node('Unsqueeze', before, np.int64([0]))
    return x, corner

  def crop_to(self, x, images, corner):
    """The part of x that stands where `pad_to_multiple` put `images`."""
    for axis, start in corner.items():
      end = self.node('Add', start, self.size(images, axis))
      x = self.node('Slice', x, start, end, np.int64([axis]))
    return x


def _weights(params, *names):
  return [np.asarray(params[x], np.float32) for x in names if x in params]
