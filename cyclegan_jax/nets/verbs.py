"""The verbs in which a network tells its layers, once, to every reader.

A network has a method `layers(do, x)` that passes x through verbs of `do`:

    x = do.pad(x, 3)
    x = do.conv(x, 'first', 64, 7)

`do` is a `Reader` and decides what x is: images for `nets.forward`, tiles for
`inference.tiled`, names of nodes for `exporters.onnx_graph`, tensors for
`exporters.tflite`, places in a PyTorch list for `pth.official`. Kernels are
square. Layers with parameters have a name, under which `params` has them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cyclegan_jax.common.errors import UserError

Value = TypeVar('Value')


class Reader:
  """All verbs, each refused: a reader overrides those that it knows.

  Attributes:
    what: the reader in words, for errors.
  """

  what = 'this reader'

  def pad(self, x: Any, size: int, mode: str = 'reflect') -> Any:
    """Adds `size` pixels at every edge.

    Args:
      x: what the verbs before gave.
      size: pixels to add at each of the four edges.
      mode: 'reflect' mirrors the pixels next to the edge, 'replicate' repeats
        the edge.
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
    """A convolution to `features` channels.

    Args:
      x: what the verbs before gave.
      name: of its parameters.
      features: output channels.
      kernel: side of the kernel.
      stride: of the kernel.
      padding: zeros at every edge.
      bias: whether it has a bias; None: as the norm wants it.
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
    """A transposed convolution that doubles height and width.

    PyTorch's of stride 2 and padding 1; output padding 1 if `kernel` is odd.
    """
    raise self.refuse("generator.upsampling='transpose'")

  def normalize(self, x: Any, name: str) -> Any:
    """The network's norm."""
    raise self.refuse('norms')

  def activate(self, x: Any, kind: str) -> Any:
    """An activation: 'relu', or 'leaky_relu' of slope 0.2."""
    raise self.refuse('activations')

  def dropout(self, x: Any, rate: float) -> Any:
    """Drops elements in training; a rate of 0 drops none."""
    raise self.refuse('dropout')

  def residual_blocks(
    self,
    x: Any,
    names: Sequence[str],
    layers: Callable[['Reader', Any], Any],
  ) -> Any:
    """x + layers(x), again and again, each with parameters of its own.

    Args:
      x: what the verbs before gave.
      names: of the blocks; each block's output is also tapped by its name.
      layers: (reader, x) -> x, the layers beside the shortcut.
    """
    raise self.refuse('residual blocks')

  def skip(self, x: Any, layers: Callable[[Any], Any]) -> Any:
    """Concatenates the channels of x and of layers(x)."""
    raise self.refuse('skip connections')

  def double(self, x: Any) -> Any:
    """Repeats every pixel: twice the height and width."""
    raise self.refuse("generator.upsampling='resize'")

  def blur_down(self, x: Any) -> Any:
    """Blurs by [1, 2, 1] / 4 and takes every other pixel (Zhang 2019).

    The edges are mirrored by a pixel; odd sizes are rounded up.
    """
    raise self.refuse("downsampling='blur'")

  def blur_up(self, x: Any) -> Any:
    """Doubles height and width by [1, 3, 3, 1] / 4, bilinear interpolation.

    The edges are repeated by a pixel.
    """
    raise self.refuse("upsampling='blur'")

  def tap(self, x: Any, name: str) -> Any:
    """Marks a feature that a loss may ask for by this name; returns x."""
    raise self.refuse('features')

  def refuse(self, what: str) -> UserError:
    """The error for a verb or an option that this reader does not know."""
    return UserError(
      f'{self.what} cannot have {what}: choose a network without'
    )

  def known(self, table: Mapping[str, Value], name: str, what: str) -> Value:
    """The value of an option's name.

    Raises:
      UserError: this reader's table has no such name.
    """
    if name not in table:
      known = ' or '.join(map(repr, table))
      raise UserError(f'{self.what} cannot have {what}={name!r}: use {known}')
    return table[name]


class _Found(Exception):
  pass


class _FirstPadding(Reader):
  def pad(self, x, size, mode='reflect'):
    raise _Found(size, mode)


def first_padding(
  layers: Callable[[Reader, Any], Any],
) -> tuple[int, str] | None:
  """(size, mode) of the padding that layers begin with; None without one."""
  try:
    layers(_FirstPadding(), None)
  except _Found as found:
    return found.args  # type: ignore[return-value]
  except UserError:
    return None
  return None
