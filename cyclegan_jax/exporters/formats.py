"""Exported programs, and the kinds of files they are written to.

A network is exported in float32, whatever it was trained in, for CPUs and
accelerators alike, and takes any batch, height and width unless they are fixed.
Batch norm takes the statistics of each picture, however many come in a batch,
as `Model.translate` does.

- 'onnx': a graph of common operators for onnxruntime, TensorRT, OpenVINO, ...
  Pictures for a ResNet are at least 5 pixels high and wide.
- 'tflite': operators that TFLite has built in, for phones and small machines.
  Pictures for a ResNet are at least 5 pixels high and wide. Where sizes are
  open, they are 256x256 until the input is resized.
- 'stablehlo': what `jax.export.deserialize` reads: runs with JAX alone.
- 'savedmodel': a folder that `tf.saved_model.load` reads: runs with TensorFlow
  alone.

The last two compile anew for each size of pictures.
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
# name -> where the channels of [batch, height, width, channels] go, and back.
LAYOUTS = {'nhwc': ((0, 1, 2, 3),) * 2, 'nchw': ((0, 3, 1, 2), (0, 2, 3, 1))}

# Types that weights are stored in -> the largest difference from the model that
# is accepted, in levels of 0 to 255 and of pictures in [-1, 1].
WEIGHTS = {'float32': (1, 1e-4), 'float16': (8, 8 / 127.5)}


class Wanted(NamedTuple):
  """A program to export.

  Attributes:
    model: a `Model`.
    direction: 'a2b' or 'b2a'.
    pixels: whether it takes and gives uint8, in place of float32 in [-1, 1];
      for pictures of a range from 0 to 255 only.
    layout: a name of `LAYOUTS`, of what it takes and gives.
    batch: its only batch; None for any.
    size: its only (height, width); None for any.
    weights: a name of `WEIGHTS`, the type that the file stores weights in.
      The program computes in float32.
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
    """(batch, height, width), None for any."""
    return (self.batch, *(self.size or (None, None)))

  @property
  def channels(self):
    """Of the pictures it takes."""
    return self.model.channels[self.direction[0]]

  @property
  def dtype(self):
    """Of the pictures it takes and gives."""
    return np.dtype(np.uint8 if self.pixels else np.float32)

  def check(self):
    """Raises `UserError` for uint8 of pictures that have another range."""
    for domain in self.direction.split('2') if self.pixels else ():
      values = self.model.values[domain]
      arrays.check_bytes(
        values, '--uint8 is for pictures of 8 bits: leave it out'
      )

  def network(self):
    """The generator for any platform, and its parameters."""
    net, params = self.model.network(self.direction)
    net = net.clone(
      dtype=jnp.float32, platform=forms.ANY, remat='none', parent=None
    )
    return net, jax.tree.map(np.asarray, params)

  def function(self):
    """The program: pictures in this layout and dtype -> translated ones."""
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
    """A shape (batch, height, width) with the channels where they belong."""
    shape = (*shape, self.channels)
    return tuple(shape[axis] for axis in LAYOUTS[self.layout][0])


class Format(NamedTuple):
  """A kind of file.

  Attributes:
    write: (path, `Wanted`) -> None; path does not exist.
    open: path -> (pictures -> translated pictures), as its users run it.
    packages: the modules both need beyond the package's own.
    weights: the names of `WEIGHTS` that the format stores.
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
  """The `jax.export.Exported` of a program, as the oldest readers take it.

  JAX writes StableHLO that readers of the last four weeks know. TensorFlow's
  newest release is behind that, and a program is kept for longer.
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

  def call(images):  # what jax2tf does, which asks for a newer reader
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
  path.mkdir()  # says more than TensorFlow where it can't be made
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
