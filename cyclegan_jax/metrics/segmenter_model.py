"""Segmenters: networks that predict label maps from pictures, and their files.

A segmenter is a folder written by `cyclegan_jax.segmenter`, or an ONNX file.

An ONNX file has one input, an RGB image [1, 3, height, width] or [1, height,
width, 3]. Its first output holds class scores [1, classes, height, width] or
[1, height, width, classes], or class numbers [1, height, width]. Input values
range from 0 to 255, unless the file's metadata has the key `input_range` with
'0..255', '0..1' or '-1..1'. Any other preparation of the input (BGR order,
subtraction of a mean, as in Caffe's FCN-8s) must be part of the graph. If the
input has a fixed height and width, images are resized to that size bilinearly,
as in the official `scripts/eval_cityscapes`, and label maps are resized back by
`resize_labels`.
"""

import json

import jax
import numpy as np
from flax import linen as nn

from cyclegan_jax.common import files, weights
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.common.images import crop_to, pad_to_multiple, to_levels
from cyclegan_jax.metrics.labels import check_rgb, resize_labels

CONFIG, WEIGHTS = 'config.json', weights.WEIGHTS
_LEVELS = 4
MULTIPLE = 2 ** (_LEVELS - 1)
# input_range of an ONNX file -> function that scales an image from [-1, 1]
_RANGES = {
  '0..255': to_levels,
  '0..1': lambda image: to_levels(image, 1),
  '-1..1': lambda image: image,
}


class Segmenter(nn.Module):
  """Small FCN: sums the class scores of all scales (FCN-8s, Long et al. 2015).

  Maps images [batch, height, width, 3] in [-1, 1], with sides that are
  multiples of 8, to scores [batch, height, width, classes].

  Attributes:
    classes: number of classes.
    width: channels of the first scale; each further scale has twice as many.
  """

  classes: int
  width: int = 16

  @nn.compact
  def __call__(self, images):
    """Returns class scores of images.

    Args:
      images: [batch, height, width, 3] in [-1, 1]; height and width must be
        multiples of 8.

    Returns:
      Unnormalised scores [batch, height, width, classes].
    """
    x, scales = images, []
    for level in range(_LEVELS):
      features = self.width * 2**level
      for strides in (min(2, level + 1), 1):
        x = nn.Conv(
          features, (3, 3), strides, kernel_init=nn.initializers.he_normal()
        )(x)
        x = nn.relu(x)
      scales.append(nn.Conv(self.classes, (1, 1))(x))
    scores = scales.pop()
    while scales:
      finer = scales.pop()
      scores = jax.image.resize(scores, finer.shape, 'bilinear') + finer
    return scores


def save(folder, config, params, results):
  """Writes a segmenter to a folder.

  The file config.json is written last: a folder that has the file is complete.

  Args:
    folder: path of the folder, created if missing.
    config: {'classes': names of the classes, 'width': int}, and any further
      settings of the training to keep on record.
    params: parameters of the `Segmenter`.
    results: {name: number}, the scores of a test.

  Raises:
    UserError: a file cannot be written.
  """
  with files.writing(folder):
    weights.write(folder, params)
    files.write(folder / 'scores.json', json.dumps(results, indent=2) + '\n')
    files.write(folder / CONFIG, json.dumps(config, indent=2) + '\n')


def segmenter(path, classes):
  """Loads a segmenter and returns its function.

  Args:
    path: a folder written by `cyclegan_jax.segmenter`, or an .onnx file.
    classes: number of classes of the dataset.

  Returns:
    A function that maps an image, float [height, width, 1 or 3] in [-1, 1], to
    class numbers, int64 [height, width]. The function raises `UserError` for an
    image with another number of channels, and if an ONNX file fails or its
    output has a wrong shape.

  Raises:
    UserError: the folder or file cannot be read, has another number of classes,
      or (ONNX) has an input of a wrong shape.
  """
  path = files.place(path)
  if path.suffix == '.onnx':
    return _onnx(path, classes)
  if not path.is_dir():
    raise UserError(
      f'no folder {path} (the segmenter): give a folder written by '
      'cyclegan_jax.segmenter, or an .onnx file'
    )
  config, params = _read(path)
  _check_classes(path, len(config['classes']), classes)
  return function(Segmenter(classes, config['width']), params)


def function(net, params):
  """Returns the function of a trained `Segmenter`.

  Args:
    net: a `Segmenter`.
    params: its parameters.

  Returns:
    A function that maps an image, float [height, width, 1 or 3] in [-1, 1], to
    class numbers, int64 [height, width]. Images of any size are accepted. The
    function raises `UserError` for another number of channels.
  """
  apply = jax.jit(lambda x: net.apply({'params': params}, x).argmax(-1))

  def segment(image):
    image = _rgb(image)
    labels = apply(pad_to_multiple(image, MULTIPLE)[None])[0]
    labels = crop_to(np.asarray(labels)[..., None], *image.shape[:2])
    return labels[..., 0].astype(np.int64)

  return segment


def _rgb(image):
  """Returns a gray or RGB image as float32 [h, w, 3]; else raises."""
  check_rgb(image)
  image = np.asarray(image, np.float32)
  return np.broadcast_to(image, (*image.shape[:2], 3))


def _read(folder):
  """Reads (config, params) of a folder that `save` wrote."""
  try:
    config = json.loads((folder / CONFIG).read_text())
    params = weights.read(weights.find(folder) or folder / WEIGHTS)
    if not {'classes', 'width'} <= set(config):
      raise ValueError('not a config of a segmenter')
  except Exception as e:  # damaged files raise many types
    raise UserError(
      f'{folder} holds no finished segmenter ({type(e).__name__}): train one '
      f'with cyclegan_jax.segmenter --workdir={folder}'
    ) from e
  return config, params


def _check_classes(path, found, wanted):
  """Raises `UserError` if a segmenter has another number of classes."""
  if found != wanted:
    raise UserError(
      f'{path} has {found} classes, but the dataset has {wanted}: use a '
      'segmenter that was trained on this dataset'
    )


def _onnx(path, classes):
  """Loads an ONNX file; same result and errors as `segmenter`."""
  session = _session(path)
  given, wanted = session.get_inputs()[0], session.get_outputs()[0]
  shape = given.shape
  if len(session.get_inputs()) != 1 or len(shape) != 4 or 3 not in shape[1::2]:
    raise UserError(
      f'{path} has the input shape {shape}: a segmenter needs one input, '
      '[1, 3, h, w] or [1, h, w, 3]'
    )
  last = shape[3] == 3  # channels last
  _check_scores(path, wanted, classes, last)
  size = shape[1:3] if last else shape[2:]
  dtype = {'tensor(uint8)': np.uint8}.get(given.type, np.float32)
  metadata = session.get_modelmeta().custom_metadata_map
  in_range = lookup(
    _RANGES, metadata.get('input_range', '0..255'), f'{path}: input_range'
  )

  def segment(image):
    original = image.shape[:2]
    image = _rgb(image)
    if all(isinstance(side, int) for side in size):
      image = np.asarray(jax.image.resize(image, (*size, 3), 'bilinear'))
    x = in_range(image)
    if dtype is np.uint8:
      x = np.clip(np.round(x), 0, 255)
    x = x[None] if last else x.transpose(2, 0, 1)[None]
    try:
      (output,) = session.run([wanted.name], {given.name: x.astype(dtype)})
    except Exception as e:  # onnxruntime raises many types
      reason = (str(e).splitlines() or [''])[0]
      raise UserError(f'{path} fails: {reason}') from e
    labels = _labels(path, output, image.shape[:2], classes, last)
    return resize_labels(labels, *original)

  return segment


def _check_scores(path, output, classes, last):
  """Checks the declared number of classes, before any picture is read."""
  if len(output.shape) == 4 and output.type != 'tensor(int64)':
    declared = [x for x in output.shape[1::2] if isinstance(x, int)]
    if declared and classes not in declared:
      _check_classes(path, declared[-1 if last else 0], classes)


def _session(path):
  """Opens an ONNX file; raises `UserError` if that fails."""
  if not path.is_file():
    raise UserError(f'no file {path} (the segmenter): check its path')
  try:
    import onnxruntime
  except ModuleNotFoundError as e:
    raise UserError(
      f"{path} needs the package onnxruntime: pip install 'cyclegan_jax[onnx]'"
    ) from e
  try:
    with files.here(path) as file:
      return onnxruntime.InferenceSession(
        file, providers=['CPUExecutionProvider']
      )
  except Exception as e:  # onnxruntime raises many types
    raise UserError(
      f'{path} cannot be read as an ONNX file ({type(e).__name__}): export it '
      'again'
    ) from e


def _labels(path, output, size, classes, last):
  """Returns class numbers, int64 [h, w], from the output of an ONNX file."""
  forms = [((1, classes, *size), 0), ((1, *size, classes), 2)]
  # If both layouts have this shape, the later entry wins: the input's layout.
  axes = dict(forms if last else reversed(forms))
  if output.dtype.kind in 'iu':
    if output.shape in ((1, *size), (1, 1, *size), (1, *size, 1)):
      return output.reshape(size).astype(np.int64)
  elif output.shape in axes:
    return output[0].argmax(axes[output.shape])
  raise UserError(
    f'{path} gives {output.dtype} {list(output.shape)} for a picture of '
    f'{size[1]}x{size[0]}: with {classes} classes the output must be scores '
    f'[1, {classes}, {size[0]}, {size[1]}]'
  )
