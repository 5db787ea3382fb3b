"""Formats of exported programs, and the functions that write and open them.

A network is exported in float32, whatever type it was trained in, for CPUs and
accelerators. The program takes any batch, height and width unless they are
fixed. Batch norm uses the statistics of each image, for any size of the batch,
as in `Model.translate`.

- 'onnx': a graph of common operators for onnxruntime, TensorRT, OpenVINO, ...
  Images for a ResNet must be at least 5 pixels high and wide.
- 'tflite': operators that TFLite has built in, for phones and small devices.
  Images for a ResNet must be at least 5 pixels high and wide. An open size is
  256x256 until the input is resized.
- 'stablehlo': a file for `jax.export.deserialize`. Runs with JAX only.
- 'savedmodel': a folder for `tf.saved_model.load`. Runs with TensorFlow only.

Programs in the last two formats are compiled once for each image size.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend import mlir
from jax.extend.mlir.dialects import stablehlo

from cyclegan_jax import nets
from cyclegan_jax.common import disk
from cyclegan_jax.common.images import from_pixels, to_pixels
from cyclegan_jax.inference import arrays
from cyclegan_jax.inference.model import Model
from cyclegan_jax.nets.conv import forms

_PLATFORMS = ('cpu', 'cuda', 'tpu')
# Layout -> transpositions from [batch, height, width, channels], and back.
LAYOUTS = {'nhwc': ((0, 1, 2, 3),) * 2, 'nchw': ((0, 3, 1, 2), (0, 2, 3, 1))}

# Type of stored weights -> largest accepted difference from the model, on the
# scale from 0 to 255 and on the scale from -1 to 1.
WEIGHTS = {'float32': (1, 1e-4), 'float16': (8, 8 / 127.5)}


class Wanted(NamedTuple):
  """Description of a program to export.

  `network` and `function` return the generator that becomes the program.

  Attributes:
    model: the `Model` to export.
    direction: 'a2b' or 'b2a'.
    pixels: if True, input and output are uint8; if False, float32 in [-1, 1].
      True needs pictures of the range 0 to 255.
    layout: a name in `LAYOUTS`, the layout of input and output.
    batch: the only size of the batch that the program takes; None for any.
    size: the only (height, width) that the program takes; None for any.
    weights: a name in `WEIGHTS`, the type of the weights in the file. The
      program computes in float32.
  """

  model: Model
  direction: str
  pixels: bool = False
  layout: str = 'nhwc'
  batch: int | None = None
  size: tuple[int, int] | None = None
  weights: str = 'float32'

  @property
  def shape(self):
    """(batch, height, width) of the input, with None for any."""
    return (self.batch, *(self.size or (None, None)))

  @property
  def channels(self):
    """Number of channels of the input."""
    return self.model.channels[self.direction[0]]

  @property
  def dtype(self):
    """NumPy type of input and output: uint8 or float32."""
    return np.dtype(np.uint8 if self.pixels else np.float32)

  def check(self):
    """Raises `UserError` if `pixels` is set for pictures not of 8 bits."""
    for domain in self.direction.split('2') if self.pixels else ():
      values = self.model.values[domain]
      arrays.check_bytes(
        values, '--uint8 is for pictures of 8 bits: leave it out'
      )

  def network(self):
    """Returns (generator in float32 for any platform, its parameters)."""
    net, params = self.model.network(self.direction)
    net = net.clone(
      dtype=jnp.float32, platform=forms.ANY, remat='none', parent=None
    )
    return net, jax.tree.map(np.asarray, params)

  def function(self):
    """Returns the program as a JAX function: images -> translations.

    Images and translations are arrays in the layout and type of the program.
    """
    net, params = self.network()
    forth, back = LAYOUTS[self.layout]

    def translate(images):
      x = images.transpose(back)
      if self.pixels:
        x = from_pixels(x)
      if self.model.joins:
        x = nets.apply(net, params, x)
      else:
        x = jax.vmap(lambda x: nets.apply(net, params, x[None])[0])(x)
      if self.pixels:
        x = to_pixels(x)
      return x.transpose(forth)

    return translate

  def input(self, shape):
    """Returns the shape of the input, with its channels, in the layout.

    Args:
      shape: (batch, height, width): numbers, None or symbols of `jax.export`.
    """
    shape = (*shape, self.channels)
    return tuple(shape[axis] for axis in LAYOUTS[self.layout][0])


class Format(NamedTuple):
  """A format of exported programs.

  Attributes:
    write: function (path, `Wanted`) -> None that writes a program. The path
      must not exist.
    open: function: path -> program, where the program is a function: images ->
      translations. It runs in the runtime that users of the format have.
    packages: names of the modules that `write` and `open` need and that
      cyclegan_jax does not require.
    weights: names in `WEIGHTS` of the types that the format can store.
  """

  write: Callable
  open: Callable
  packages: tuple[str, ...] = ()
  weights: tuple[str, ...] = ('float32',)


def _write_onnx(path, wanted):
  from cyclegan_jax.exporters import onnx_graph

  disk.fill(path, onnx_graph.encoded(wanted))


def _open_onnx(path):
  from cyclegan_jax.exporters import onnx_graph

  return onnx_graph.runner(path)


def _exported(wanted):
  """Returns the `jax.export.Exported` of a program, in old StableHLO.

  By default JAX writes StableHLO for readers that are at most four weeks old.
  TensorFlow's newest release is older, and programs are kept for longer.
  """
  names = export.symbolic_shape('batch, height, width')
  shape = (known or name for known, name in zip(wanted.shape, names))
  images = jax.ShapeDtypeStruct(wanted.input(shape), wanted.dtype)
  program = jax.jit(wanted.function())
  exported = export.export(program, platforms=_PLATFORMS)(images)
  oldest = stablehlo.get_version_from_compatibility_requirement(
    stablehlo.StablehloCompatibilityRequirement.MAX
  )
  portable = mlir.serialize_portable_artifact(exported.mlir_module(), oldest)
  return dataclasses.replace(exported, mlir_module_serialized=portable)


def _write_stablehlo(path, wanted):
  disk.fill(path, bytes(_exported(wanted).serialize()))


def _open_stablehlo(path):
  return jax.jit(export.deserialize(bytearray(path.read_bytes())).call)


def _write_savedmodel(path, wanted):
  from cyclegan_jax.data.tf import call_module, tf

  images = tf.TensorSpec(wanted.input(wanted.shape), wanted.dtype, 'images')
  program = _exported(wanted)
  (output,) = program.out_avals
  shape = [None if export.is_symbolic_dim(x) else x for x in output.shape]

  def call(images):  # as jax2tf, whose StableHLO needs a newer reader
    (translated,) = call_module(
      (images,),
      version=program.calling_convention_version,
      module=program.mlir_module_serialized,
      Tout=(wanted.dtype,),
      Sout=(shape,),
      platforms=[x.upper() for x in program.platforms],
    )
    return translated

  module = tf.Module()
  module.translate = tf.function(
    lambda images: {'translated': call(images)},
    input_signature=[images],
    autograph=False,
  )
  path.mkdir()  # its error is clearer than TensorFlow's
  try:
    tf.saved_model.save(
      module, str(path), signatures={'serving_default': module.translate}
    )
  except tf.errors.OpError as e:
    raise OSError(e.message) from e


def _open_savedmodel(path):
  from cyclegan_jax.data.tf import tf

  loaded = tf.saved_model.load(str(path))

  def translate(images):
    call = loaded.signatures['serving_default']
    return call(images=tf.constant(images))['translated'].numpy()

  return translate


def _write_tflite(path, wanted):
  from cyclegan_jax.exporters import tflite

  tflite.write(path, wanted)


def _open_tflite(path):
  from cyclegan_jax.exporters import tflite

  return tflite.runner(path.read_bytes())


FORMATS = {
  'onnx': Format(
    _write_onnx,
    _open_onnx,
    ('onnx', 'onnxruntime'),
    weights=('float32', 'float16'),
  ),
  'stablehlo': Format(_write_stablehlo, _open_stablehlo),
  'savedmodel': Format(_write_savedmodel, _open_savedmodel),
  'tflite': Format(
    _write_tflite,
    _open_tflite,
    ('ai_edge_litert',),
    weights=('float32', 'float16'),
  ),
}
