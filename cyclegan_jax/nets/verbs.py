"""Verbs: the methods with which a network defines its layers for all readers.

A network has a method `layers(do, x)` that calls one verb of `do` per layer:

    x = do.pad(x, 3)
    x = do.conv(x, 'first', 64, 7)

`do` is a `Reader`. The reader decides what x is: images for `nets.forward`,
tiles for `inference.tiled`, names of nodes for `exporters.onnx_graph`, tensors
for `exporters.tflite`, positions in a PyTorch list for `pth.official`. Kernels
are square. A layer with parameters has a name, its key in `params`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cyclegan_jax.common.errors import UserError

Value = TypeVar('Value')


class Reader:
  """Base class of readers, whose methods (verbs) declare layers.

  A network calls one verb per layer, such as `conv` or `pad`; what the reader
  does with the layer is up to the subclass. A subclass overrides the verbs that
  it supports; here every verb raises `UserError`. Each verb takes and returns x
  in the form the reader works with.

  Attributes:
    what: name of the reader, the subject of its error messages.
  """

  what = 'this reader'

  def pad(self, x: Any, size: int, mode: str = 'reflect') -> Any:
    """Pads height and width.

    Args:
      x: the layer's input.
      size: number of pixels to add at each of the four edges.
      mode: 'reflect' mirrors the pixels next to the edge, 'replicate' repeats
        the pixels at the edge.
    """
    raise self.refuse('padding')

  def conv(
    self,
    x: Any,
    name: str,
    features: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool | None = None,
  ) -> Any:
    """Applies a convolution.

    Args:
      x: the layer's input.
      name: key of the layer's parameters.
      features: number of output channels.
      kernel: side of the kernel in pixels.
      stride: stride of the kernel.
      padding: number of zeros to add at each edge.
      bias: whether the layer has a bias; None decides by the network's norm
        (`Net.has_bias`).
    """
    raise self.refuse('convolutions')

  def conv_transpose(
    self,
    x: Any,
    name: str,
    features: int,
    kernel: int,
    *,
    bias: bool | None = None,
  ) -> Any:
    """Applies a transposed convolution that doubles height and width.

    Equals PyTorch's with stride 2 and padding 1, and output padding 1 if
    `kernel` is odd.

    Args:
      x: the layer's input.
      name: key of the layer's parameters.
      features: number of output channels.
      kernel: side of the kernel in pixels, 3 or 4.
      bias: whether the layer has a bias; None decides by the network's norm
        (`Net.has_bias`).
    """
    raise self.refuse("generator.upsampling='transpose'")

  def normalize(self, x: Any, name: str) -> Any:
    """Applies the network's norm.

    Args:
      x: the layer's input.
      name: key of the norm's parameters, if it has any.
    """
    raise self.refuse('norms')

  def activate(self, x: Any, kind: str) -> Any:
    """Applies an activation.

    Args:
      x: the layer's input.
      kind: 'relu', or 'leaky_relu' (with slope 0.2).
    """
    raise self.refuse('activations')

  def dropout(self, x: Any, rate: float) -> Any:
    """Applies dropout, in training only.

    Args:
      x: the layer's input.
      rate: probability of dropping an element; 0 drops none.
    """
    raise self.refuse('dropout')

  def residual_blocks(
    self,
    x: Any,
    names: Sequence[str],
    layers: Callable[['Reader', Any], Any],
  ) -> Any:
    """Applies a sequence of residual blocks, x + layers(x).

    Args:
      x: the input of the first block.
      names: names of the blocks: keys of their parameters. Each block's output
        is also marked by `tap` under the block's name.
      layers: function (reader, x) -> x that applies a block's layers, without
        the shortcut.
    """
    raise self.refuse('residual blocks')

  def skip(self, x: Any, layers: Callable[[Any], Any]) -> Any:
    """Concatenates the channels of x and layers(x).

    Args:
      x: the input.
      layers: function x -> x that applies the layers beside the skip
        connection.
    """
    raise self.refuse('skip connections')

  def double(self, x: Any) -> Any:
    """Doubles height and width by repeating each pixel.

    Args:
      x: the layer's input, in the form the reader works with.
    """
    raise self.refuse("generator.upsampling='resize'")

  def blur_down(self, x: Any) -> Any:
    """Halves height and width with a blur against aliasing (Zhang 2019).

    Blurs rows and columns by [1, 2, 1] / 4 and takes every second pixel,
    starting with the first. The edges are padded by one reflected pixel. Half
    of an odd size is rounded up.

    Args:
      x: the layer's input, in the form the reader works with.
    """
    raise self.refuse("downsampling='blur'")

  def blur_up(self, x: Any) -> Any:
    """Doubles height and width by bilinear interpolation (Zhang 2019).

    It is a transposed convolution of stride 2 with the kernel [1, 3, 3, 1] / 4
    along rows and columns. The edges are padded by one replicated pixel.

    Args:
      x: the layer's input, in the form the reader works with.
    """
    raise self.refuse("upsampling='blur'")

  def tap(self, x: Any, name: str) -> Any:
    """Marks x as a feature that losses can use, and returns x unchanged.

    Args:
      x: output of a layer.
      name: name of the feature, one of the network's `taps`.
    """
    raise self.refuse('features')

  def refuse(self, what: str) -> UserError:
    """Returns the error for a layer that this reader does not support.

    Args:
      what: the layer or option in words, such as 'dropout'.

    Returns:
      A `UserError` for the caller to raise.
    """
    return UserError(
      f'{self.what} does not support {what}: choose a network without it'
    )

  def known(self, table: Mapping[str, Value], name: str, what: str) -> Value:
    """Looks up an option's value in a table of this reader.

    Args:
      table: the values this reader supports, by name.
      name: the option's name to look up.
      what: name of the option, such as 'generator.padding', for the error.

    Returns:
      The value `table[name]`.

    Raises:
      UserError: the table does not have the name.
    """
    if name not in table:
      known = ' or '.join(map(repr, table))
      raise UserError(
        f'{self.what} does not support {what}={name!r}: use {known}'
      )
    return table[name]


class _Found(Exception):
  """Raised by `_FirstPadding.pad` with the arguments (size, mode)."""


class _FirstPadding(Reader):
  """Reader that stops at a padding, if that is the first layer."""

  def pad(self, x, size, mode='reflect'):
    raise _Found(size, mode)


def first_padding(
  layers: Callable[[Reader, Any], Any],
) -> tuple[int, str] | None:
  """Returns the padding that a sequence of layers begins with.

  Args:
    layers: function (reader, x) -> x that applies the layers by the verbs of
      the reader.

  Returns:
    (size, mode) of the first layer if it is a padding, else None.
  """
  try:
    layers(_FirstPadding(), None)
  except _Found as found:
    return found.args  # type: ignore[return-value]
  except UserError:
    return None
  return None
