"""Training and testing of a `Segmenter` on real pictures and label maps."""

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
# Random changes per picture: standard deviations of the gain of each colour, of
# the brightness and of noise, and the largest share of a blurred copy.
# Translations differ a little from real pictures; the segmenter must tolerate
# these differences.
_GAIN, _LIGHT, _NOISE, _BLUR = 0.1, 0.1, 0.03, 1.0


class Batches:
  """Function of a step that returns random crops of pictures and label maps.

  A call with the number of a step returns (images, label maps): float32 [batch,
  side, side, 3] in [-1, 1] and integers [batch, side, side]. `side` is the crop
  size, rounded down to a multiple of 8. Crops are mirrored at random if
  `preprocess.flip`. The same seed and step give the same batch. A call raises
  `UserError` if a picture or label map cannot be used.

  Args:
    pictures: list of `Picture` of domain A.
    labels: the `Labels` of `pictures`.
    preprocess: a `Preprocess`; pictures are resized by its mode, and cropped
      even if the mode does not crop.
    batch_size: crops per step.
    seed: seed of the random choices.
    cache_bytes: memory for decoded pictures, in bytes.

  Raises:
    UserError: the crop size is below 8.
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
    """Reads a picture and its label map (channel 3) as uint8 [h, w, 4]."""
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
        f'data.crop_size={self._preprocess.crop_size}: use a smaller crop size'
      )
    pixels = decode.resized(picture, image, 3, size)
    labels = label_maps.resize_labels(labels, *pixels.shape[:2])
    return np.dstack([np.round(pixels), labels]).astype(np.uint8)


def _check_classes(file, labels, classes):
  """Raises `UserError` if a label map has a number that is not a class."""
  wrong = labels[(labels >= classes) & (labels != IGNORED)]
  if wrong.size:
    raise UserError(
      f'{file.name}: a pixel is {wrong[0]}, but must be a class number of '
      f'classes.json, 0 to {classes - 1}, or 255 for pixels that are not scored'
    )


def _check_size(file, labels, size):
  """Raises `UserError` if a label map is not of its picture's (h, w)."""
  if labels.shape != size:
    raise UserError(
      f'{file.name}: the label map is {labels.shape[1]}x{labels.shape[0]}, but '
      f'its picture is {size[1]}x{size[0]}: the sizes must be equal'
    )


def ground_truth(segment, pictures, labels, preprocess):
  """Returns the FCN score of real pictures, the paper's "ground truth" row.

  Args:
    segment: function that maps an image [height, width, 3] in [-1, 1] to class
      numbers [height, width].
    pictures: list of `Picture`, the real pictures.
    labels: the `Labels` of `pictures`.
    preprocess: a `Preprocess`; pictures and label maps are prepared as for a
      test.

  Returns:
    {'pixel accuracy': float, 'class accuracy': float, 'class IoU': float}, from
    `segmentation.scores`.

  Raises:
    UserError: a picture or label map cannot be used.
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
  """Trains a segmenter from random parameters.

  The same arguments give bit-identical parameters.

  Args:
    net: a `Segmenter`.
    batch: function of a step's number that returns images, float32 [batch,
      height, width, 3] in [-1, 1], and class numbers, integers [batch, height,
      width]. Height and width must be multiples of 8.
    steps: number of steps.
    seed: seed of the initial parameters and of the augmentation.
    progress: function called with (steps done, loss) every 100 steps and at the
      end.

  Returns:
    The trained parameters, dicts of NumPy arrays.
  """
  key = jax.random.PRNGKey(seed)
  images, _ = batch(0)
  shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
  params = net.lazy_init(key, shape)['params']  # without running the layers
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
  """Returns the mean cross-entropy over all scored pixels of a batch.

  Args:
    scores: unnormalised class scores [batch, height, width, classes].
    labels: true class numbers, integers [batch, height, width]; pixels of 255
      are not scored.

  Returns:
    A scalar; 0 if no pixel is scored.
  """
  counted = labels != IGNORED
  each = optax.softmax_cross_entropy_with_integer_labels(
    scores, jnp.where(counted, labels, 0)
  )
  return jnp.sum(each * counted) / jnp.maximum(jnp.sum(counted), 1)


def augment(images, key):
  """Randomly changes blur, colours, brightness and noise of images.

  Args:
    images: [batch, height, width, 3] in [-1, 1].
    key: a JAX random key.

  Returns:
    Images of the same shape, clipped to [-1, 1].
  """
  count = images.shape[0]
  gain, light, blur, noise = jax.random.split(key, 4)
  share = _BLUR * jax.random.uniform(blur, (count, 1, 1, 1))
  blurred = nn.avg_pool(images, (3, 3), padding='SAME', count_include_pad=False)
  images = images + share * (blurred - images)
  images *= 1 + _GAIN * jax.random.normal(gain, (count, 1, 1, 3))
  images += _LIGHT * jax.random.normal(light, (count, 1, 1, 1))
  images += _NOISE * jax.random.normal(noise, images.shape)
  return jnp.clip(images, -1, 1)
