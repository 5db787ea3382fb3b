"""Writes the layers of generators as nodes of an ONNX graph.

Images are float32 [batch, channels, height, width], the usual layout of ONNX.
"""

import numpy as np
import onnx
from onnx import helper

from cyclegan_jax.nets.blur import DOWN
from cyclegan_jax.nets.layers import EPSILON

_ROWS, _COLUMNS = 2, 3


class Graph:
  """ONNX graph under construction.

  `node` adds any operator; the other methods add the nodes of one kind of
  layer. They take names of outputs of earlier nodes, and return the name of
  their own output. Images are float32 [batch, channels, height, width].

  Attributes:
    nodes: list of `onnx.NodeProto` in the order of computation.
    constants: list of `onnx.TensorProto`.
    half: if True, kernels are stored in float16. Nodes compute in float32.
  """

  def __init__(self, half=False):
    self.nodes, self.constants, self.half = [], [], half

  def node(self, kind, *inputs, output=None, **attributes):
    """Adds a node to the graph.

    Args:
      kind: name of the operator in ONNX.
      *inputs: inputs of the node: names of outputs of other nodes, and arrays,
        which become constants.
      output: name of the output; by default a new name.
      **attributes: attributes of the operator.

    Returns:
      The name of the output.
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
    """Adds an operator on an int64 tensor and an int64 constant.

    Args:
      kind: name of the operator in ONNX, such as 'Mod' or 'Mul'.
      x: name of the first operand, an int64 tensor.
      value: the second operand, an int.

    Returns:
      The name of the output.
    """
    return self.node(kind, x, np.int64(value))

  def size(self, x, axis):
    """Adds a node for the size of a tensor along an axis.

    Args:
      x: name of the tensor.
      axis: number of the axis.

    Returns:
      The name of the output, int64 [1].
    """
    return self.node('Shape', x, start=axis, end=axis + 1)

  def kernel(self, array):
    """Returns a kernel as an input of `node`; stored in float16 if `half`.

    Args:
      array: the kernel, float32.
    """
    if not self.half:
      return array
    with np.errstate(over='ignore'):  # the trial of the program reports it
      stored = array.astype(np.float16)
    return self.node('Cast', stored, to=onnx.TensorProto.FLOAT)

  def convolve(self, x, params, *, stride=1, padding=0):
    """Adds a convolution.

    Args:
      x: name of the input.
      params: {'kernel': [height, width, inputs, outputs], 'bias': [outputs]};
        the bias may be missing.
      stride: stride of the kernel.
      padding: zeros that are added at each edge.
    """
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
    """Adds a transposed convolution that doubles height and width.

    Args:
      x: name of the input.
      params: {'kernel': [height, width, inputs, outputs], 'bias': [outputs]};
        the bias may be missing.
    """
    kernel, *bias = _weights(params, 'kernel', 'bias')
    # ONNX defines the kernel as seen from the output, so it is flipped.
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
    """Adds a node that doubles height and width, and returns its output's name.

    Args:
      x: name of the input.
      mode: 'nearest' or 'linear', the interpolation.
    """
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
    """Adds a blur that halves height and width, as `nets.blur.down` does.

    Args:
      x: name of the input.
      channels: number of channels of the input.
    """
    kernel = np.tile(np.outer(DOWN, DOWN), (channels, 1, 1, 1))
    return self.node(
      'Conv',
      self.pad(x, 1, 'reflect'),
      kernel.astype(np.float32),
      strides=[2, 2],
      group=channels,
    )

  def pad(self, x, size, mode):
    """Adds a node that pads the four edges of images.

    Args:
      x: name of the input.
      size: number of pixels to add at each edge.
      mode: mode of ONNX's operator Pad, such as 'reflect' or 'edge'.
    """
    pads = np.int64([0, 0, size, size, 0, 0, size, size])
    return self.node('Pad', x, pads, mode=mode)

  def normalize(self, x, params, channels, norm):
    """Adds a norm.

    The norm 'batch_frozen' uses the running averages mean and var in `params`.
    Every other norm uses the statistics of each image.

    Args:
      x: name of the input.
      params: any of scale, bias, mean and var. Missing ones have no effect.
      channels: number of channels of the input.
      norm: a name in `layers.NORMS`. 'batch' computes as for a batch of one
        image.
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
    """Adds mirrored edges, so that height and width are multiples of a number.

    The result is that of `nets.layers.pad_to_multiple`, for sizes that are
    known only at run time. It is computed by indices, because an image that is
    smaller than its padding is mirrored repeatedly, which Pad cannot do.

    Args:
      x: name of the input.
      multiple: the number.

    Returns:
      (name of the padded image, corner); `corner` says where the image begins
      in it, for `crop_to`.
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
    """Adds a crop that undoes `pad_to_multiple`.

    Args:
      x: name of an output of the padded size.
      images: name of the image before padding, which gives the size.
      corner: the second result of `pad_to_multiple`.
    """
    for axis, start in corner.items():
      end = self.node('Add', start, self.size(images, axis))
      x = self.node('Slice', x, start, end, np.int64([axis]))
    return x


def _weights(params, *names):
  return [np.asarray(params[x], np.float32) for x in names if x in params]
