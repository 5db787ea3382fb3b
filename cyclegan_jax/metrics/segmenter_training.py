"""Training and test of a `Segmenter` on real pictures and their label maps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from cyclegan_jax.common import images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import decode, reader
from cyclegan_jax.metrics import labels as label_maps
from cyclegan_jax.metrics.labels import IGNORED
from cyclegan_jax.metrics.segmentation import confusion, scores
from cyclegan_jax.metrics.segmenter_model import MULTIPLE

_RATE = 3e-3
# Spread of what is drawn for each picture: the gain of each colour, the light
# on all of it, noise; and the most of a blurred copy that is mixed in. Fakes
# are a bit off the real pictures, and still have to be read.
_GAIN, _LIGHT, _NOISE, _BLUR = 0.1, 0.1, 0.03, 1.0


class Batches:
  """The batch of a step: random crops, mirrored at random.

  Called with a step it gives images float32 [b, side, side, 3] in [-1, 1] and
  label maps int [b, side, side]; side is the crop size, as a multiple of 8.

  Args:
    pictures: a list of `Picture`.
    labels: the `Labels` of them.
    preprocess: a `Preprocess`; it resizes, and crops are cut in every mode.
    batch_size: pictures a step.
    seed: decides what is drawn.
    cache_bytes: memory for decoded pictures.

  Raises:
    UserError: called, a picture or label map that can't be used.
  """

  def __init__(
    self, pictures, labels, preprocess, batch_size, seed, cache_bytes=2**31
  ):
    self._pictures = pictures
    self._labels = labels
    self._preprocess = preprocess
    self._batch_size = batch_size
    self._seed = seed
    self._side = preprocess.crop_size // MULTIPLE * MULTIPLE
    self._cache = reader.Cache(cache_bytes)
    if not self._side:
      raise UserError(
        f'data.crop_size={preprocess.crop_size} must be at least {MULTIPLE}'
      )

  def __call__(self, step):
    rng = np.random.default_rng((self._seed, step))
    indices = rng.integers(len(self._pictures), size=self._batch_size)
    crops = np.stack([self._crop(rng, i) for i in indices.tolist()])
    return images.from_pixels(crops[..., :3]), crops[..., 3].astype(int)

  def _crop(self, rng, index):
    pixels = self._cache.get(index, lambda: self._read(index))
    corners = [size - self._side + 1 for size in pixels.shape[:2]]
    top, left = rng.integers(corners)
    crop = pixels[top : top + self._side, left : left + self._side]
    mirrored = self._preprocess.flip and rng.random() < 0.5
    return crop[:, ::-1] if mirrored else crop

  def _read(self, index):
    """uint8 [h, w, 4]: a picture and, last, its label map."""
    picture, file = self._pictures[index], self._labels.pictures[index]
    labels = label_maps.label_map(file)
    _check_classes(file, labels, len(self._labels.classes))

    image = decode.decoded(picture, 3)
    width, height = image.size
    _check_size(file, labels, (height, width))
    size = self._preprocess.train_size(width, height)
    if min(size) < self._side:
      raise UserError(
        f'{picture.name}: {size[0]}x{size[1]} is smaller than '
        f'data.crop_size={self._preprocess.crop_size}: use a smaller crop'
      )
    pixels = decode.resized(picture, image, 3, size)
    labels = label_maps.resize_labels(labels, *pixels.shape[:2])
    return np.dstack([np.round(pixels), labels]).astype(np.uint8)


def _check_classes(file, labels, classes):
  wrong = labels[(labels >= classes) & (labels != IGNORED)]
  if wrong.size:
    raise UserError(
      f'{file.name}: a pixel is {wrong[0]}, and classes.json has classes 0 to '
      f'{classes - 1}; 255 is for what does not count'
    )


def _check_size(file, labels, size):
  if labels.shape != size:
    raise UserError(
      f'{file.name}: {labels.shape[1]}x{labels.shape[0]}, its picture is '
      f'{size[1]}x{size[0]}: a label map has the size of its picture'
    )


def ground_truth(segment, pictures, labels, preprocess):
  """The scores of real pictures: the ground-truth row of the FCN score.

  Args:
    segment: image [h, w, 3] in [-1, 1] -> label map [h, w].
    pictures: a list of `Picture`.
    labels: the `Labels` of them.
    preprocess: a `Preprocess`.

  Returns:
    As `segmentation.scores`.

  Raises:
    UserError: a picture or label map that can't be used.
  """
  count = len(labels.classes)
  matrix = np.zeros((count, count), np.int64)
  for picture, file in zip(pictures, labels.pictures):
    image = reader.load_test_image(picture, preprocess, 3)
    true = label_maps.test_labels(file, preprocess)
    _check_classes(file, true, count)
    _check_size(file, true, image.shape[:2])
    matrix += confusion(segment(image), true, count)
  return scores(matrix)


def train(net, batch, steps, seed, progress=lambda step, loss: None):
  """Trains a network from random parameters; the same bits for a seed.

  Args:
    net: a `Segmenter`.
    batch: step -> images float32 [b, h, w, 3] in [-1, 1], h and w multiples of
      8, and label maps int [b, h, w].
    steps: how many.
    seed: decides parameters and augmentation.
    progress: called with (steps done, loss) now and then.

  Returns:
    Its parameters.
  """
  key = jax.random.PRNGKey(seed)
  images, _ = batch(0)
  shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
  params = net.lazy_init(key, shape)['params']  # runs no layer
  optimizer = optax.adam(optax.cosine_decay_schedule(_RATE, steps))
  state = optimizer.init(params)

  @partial(jax.jit, donate_argnums=(0, 1))
  def update(params, state, images, labels, key):
    images = augment(images, key)

    def loss_of(params):
      return loss(net.apply({'params': params}, images), labels)

    value, gradients = jax.value_and_grad(loss_of)(params)
    changes, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, changes), state, value

  for step in range(steps):
    images, labels = batch(step)
    params, state, value = update(
      params, state, images, labels, jax.random.fold_in(key, step)
    )
    if (step + 1) % 100 == 0 or step + 1 == steps:
      progress(step + 1, float(value))
  return jax.tree.map(np.asarray, params)


def loss(scores, labels):
  """Cross-entropy of scores [b, h, w, classes], mean over pixels that count."""
  counted = labels != IGNORED
  each = optax.softmax_cross_entropy_with_integer_labels(
    scores, jnp.where(counted, labels, 0)
  )
  return jnp.sum(each * counted) / jnp.maximum(jnp.sum(counted), 1)


def augment(images, key):
  """Images [b, h, w, 3] in other light and colours, blurred, with noise."""
  count = images.shape[0]
  gain, light, blur, noise = jax.random.split(key, 4)
  share = _BLUR * jax.random.uniform(blur, (count, 1, 1, 1))
  blurred = nn.avg_pool(images, (3, 3), padding='SAME', count_include_pad=False)
  images = images + share * (blurred - images)
  images *= 1 + _GAIN * jax.random.normal(gain, (count, 1, 1, 3))
  images += _LIGHT * jax.random.normal(light, (count, 1, 1, 1))
  images += _NOISE * jax.random.normal(noise, images.shape)
  return jnp.clip(images, -1, 1)
