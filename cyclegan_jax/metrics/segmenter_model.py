"""Networks that read label maps from pictures, and how they are loaded.

A segmenter is a folder that `cyclegan_jax.segmenter` wrote, or an ONNX file.

An ONNX file has one input, RGB pictures [1, 3, h, w] or [1, h, w, 3], and gives
first the scores [1, classes, h, w] or [1, h, w, classes], or the class numbers
[1, h, w] themselves. Values go from 0 to 255 unless the file's metadata says
otherwise: `input_range`, '0..255', '0..1' or '-1..1'. What a network needs
beyond that (BGR, a mean to take off, as Caffe's FCN-8s does) belongs into its
graph. Where its input has a fixed height and width, pictures are resized to it
bilinearly, as the official scripts/eval_cityscapes does, and its labels back to
the nearest.
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
# input_range of an ONNX file -> (an image in [-1, 1] -> the same in the range)
_RANGES = {
  '0..255': to_levels,
  '0..1': lambda image: to_levels(image, 1),
  '-1..1': lambda image: image,
}


class Segmenter(nn.Module):
  """A small FCN: scores of all scales added up (FCN-8s, Long et al. 2015).

  Attributes:
    classes: how many there are.
    width: channels of the first scale; each further one has twice as many.
  """

  classes: int
  width: int = 16

  @nn.compact
  def __call__(self, images):
    """Images [b, h, w, 3] in [-1, 1], h and w multiples of 8, to scores."""
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
  """Writes a segmenter's folder; its config.json, last, says it is finished.

  Args:
    folder: where to; made if missing.
    config: {'classes': names, 'width': int} and whatever made it what it is.
    params: of the `Segmenter`.
    results: {name: number}, what it was tested with.

  Raises:
    UserError: it can't be written.
  """
  with files.writing(folder):
    weights.write(folder, params)
    files.write(folder / 'scores.json', json.dumps(results, indent=2) + '\n')
    files.write(folder / CONFIG, json.dumps(config, indent=2) + '\n')


def segmenter(path, classes):
  """Reads a segmenter.

  Args:
    path: a folder of `cyclegan_jax.segmenter`, or an .onnx file.
    classes: how many the data set has.

  Returns:
    (image float [h, w, 1 or 3] in [-1, 1]) -> int64 [h, w], class numbers.

  Raises:
    UserError: it can't be read, or has another number of classes. The function
      raises it for an image of other channels, and where an ONNX file doesn't
      take or give what it should.
  """
  path = files.place(path)
  if path.suffix == '.onnx':
    return _onnx(path, classes)
  if not path.is_dir():
    raise UserError(
      f'no folder {path} (the segmenter): give one of cyclegan_jax.segmenter, '
      'or an .onnx file'
    )
  config, params = _read(path)
  _check_classes(path, len(config['classes']), classes)
  return function(Segmenter(classes, config['width']), params)


def function(net, params):
  """A `Segmenter` as a function: image [h, w, 1 or 3] -> int64 [h, w]."""
  apply = jax.jit(lambda x: net.apply({'params': params}, x).argmax(-1))

  def segment(image):
    image = _rgb(image)
    labels = apply(pad_to_multiple(image, MULTIPLE)[None])[0]
    labels = crop_to(np.asarray(labels)[..., None], *image.shape[:2])
    return labels[..., 0].astype(np.int64)

  return segment


def _rgb(image):
  check_rgb(image)
  image = np.asarray(image, np.float32)
  return np.broadcast_to(image, (*image.shape[:2], 3))


def _read(folder):
  try:
    config = json.loads((folder / CONFIG).read_text())
    params = weights.read(weights.find(folder) or folder / WEIGHTS)
    if not {'classes', 'width'} <= set(config):
      raise ValueError('no config of a segmenter')
  except Exception as e:  # whatever is in the files
    raise UserError(
      f'{folder} holds no finished segmenter ({type(e).__name__}): make one '
      f'with cyclegan_jax.segmenter --workdir={folder}'
    ) from e
  return config, params


def _check_classes(path, found, wanted):
  if found != wanted:
    raise UserError(
      f'{path} tells {found} classes apart, the data set has {wanted}: use a '
      'segmenter made for it'
    )


def _onnx(path, classes):
  session = _session(path)
  given, wanted = session.get_inputs()[0], session.get_outputs()[0]
  shape = given.shape
  if len(session.get_inputs()) != 1 or len(shape) != 4 or 3 not in shape[1::2]:
    raise UserError(
      f'{path} takes {shape}: a segmenter has one input, [1, 3, h, w] or '
      '[1, h, w, 3]'
    )
  last = shape[3] == 3  # the channels
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
    except Exception as e:  # onnxruntime raises all kinds
      reason = (str(e).splitlines() or [''])[0]
      raise UserError(f'{path} fails: {reason}') from e
    labels = _labels(path, output, image.shape[:2], classes, last)
    return resize_labels(labels, *original)

  return segment


def _check_scores(path, output, classes, last):
  """Finds another number of classes before any picture is read, if declared."""
  if len(output.shape) == 4 and output.type != 'tensor(int64)':
    declared = [x for x in output.shape[1::2] if isinstance(x, int)]
    if declared and classes not in declared:
      _check_classes(path, declared[-1 if last else 0], classes)


def _session(path):
  if not path.is_file():
    raise UserError(f'no file {path} (the segmenter)')
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
  except Exception as e:  # onnxruntime raises all kinds
    raise UserError(
      f'{path} cannot be read as an ONNX file ({type(e).__name__})'
    ) from e


def _labels(path, output, size, classes, last):
  """int64 [h, w] of what an ONNX file gives: class numbers, or their scores."""
  forms = [((1, classes, *size), 0), ((1, *size, classes), 2)]
  axes = dict(forms if last else reversed(forms))  # the input's own goes last
  if output.dtype.kind in 'iu':
    if output.shape in ((1, *size), (1, 1, *size), (1, *size, 1)):
      return output.reshape(size).astype(np.int64)
  elif output.shape in axes:
    return output[0].argmax(axes[output.shape])
  raise UserError(
    f'{path} gives {output.dtype} {list(output.shape)} for a picture of '
    f'{size[1]}x{size[0]}: with {classes} classes it should give scores '
    f'[1, {classes}, {size[0]}, {size[1]}]'
  )
