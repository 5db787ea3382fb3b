"""Images from pictures: cached, cropped, mirrored, checked."""

import threading

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import from_pixels
from cyclegan_jax.data import partly
from cyclegan_jax.data.bad_pictures import stand_in
from cyclegan_jax.data.decode import SPAN, decoded, load, resized
from cyclegan_jax.data.raw import OUTSIDE


class Cache:
  """Decoded pictures, kept while they fit in a budget of bytes."""

  def __init__(self, budget):
    self._left = budget
    self._arrays = {}
    self._lock = threading.Lock()
    self._locks = {}

  def get(self, key, make):
    """The array kept under a key, or a new one from `make()`."""
    with self._lock:
      lock = self._locks.setdefault(key, threading.Lock())
    with lock:  # or two threads that need the same picture both read it
      array = self._arrays.get(key)
      if array is None:
        array = make()
        with self._lock:
          if array.nbytes <= self._left:
            self._arrays[key] = array
            self._left -= array.nbytes
    return array

  def close(self):
    """Drops all arrays; from now on none is kept."""
    with self._lock:
      self._arrays.clear()
      self._left = 0


class Reader:
  """Reads a domain's training images, or pairs of 'ab' alike in all drawn.

  Where the data set skips bad pictures, others are read for bad ones.
  """

  def __init__(self, data, domains, cache):
    self.error = None
    self._pictures = [data.train[d] for d in domains]
    self._values = [data.values_of(d) for d in domains]
    self._preprocess = data.preprocess
    self._cache = cache
    self._skips = data.skips
    self._bad = set()
    self._size = None
    # Pictures of other sizes are bad ones where a mode does not crop.
    self._only_size = data.sizes.get(domains[0]) if data.skips else None
    self._file_sizes = {}

  def __call__(self, indices, corners, flips):
    """Images of a batch, augmented as drawn.

    Args:
      indices: [count], which pictures.
      corners: [count, 2] in [0, 1), how far down and right to crop.
      flips: [count], whether to mirror.

    Returns:
      For each domain, float32 [count, height, width, channels] in [-1, 1].
    """
    try:
      pixels = [self._read(i) for i in indices.tolist()]
    except Exception as e:  # a picture that won't do, a bucket that fails
      self.error = e
      raise
    return [self._augment(x, corners, flips) for x in zip(*pixels)]

  def _augment(self, pixels, corners, flips):
    crops = [self._crop(*args) for args in zip(pixels, corners, flips)]
    images = np.empty((len(crops), *crops[0].shape), np.float32)
    for image, crop in zip(images, crops):
      from_pixels(crop, out=image)
    return images

  def _read(self, index):
    """For each domain, [height, width, channels] in [0, 255], resized."""
    index, pixels = self._find(index)
    self._check_size(self._pictures[0][index], pixels[0])
    return pixels

  def names(self, index):
    """For each domain, the name of the picture that is read at an index."""
    index = self._find(index)[0] if self._skips else index
    return [pictures[index].name for pictures in self._pictures]

  def _find(self, index):
    if self._skips:
      return stand_in(self._decode, self._pictures[0], index, self._bad)
    return index, self._decode(index)

  def _decode(self, index):
    pixels = [self._decode_one(i, index) for i in range(len(self._pictures))]
    self._check_pair(index)
    if self._only_size:
      name, shape = self._pictures[0][index].name, pixels[0].shape
      self._preprocess.check_one_size(name, shape[1::-1], self._only_size)
    return pixels

  def _decode_one(self, domain, index):
    picture, values = self._pictures[domain][index], self._values[domain]

    def make():
      image = decoded(picture, values)
      partly.warn(picture.name, image.info.get(SPAN))
      if values.low:
        share = image.info.get(OUTSIDE, 0.0)
        partly.warn_outside(picture.name, share, values.option)
      self._file_sizes[domain, index] = image.size
      size = self._preprocess.train_size(*image.size)
      return resized(picture, image, values, size)

    pixels = self._cache.get((id(self), domain, index), make)
    height, width = pixels.shape[:2]
    self._preprocess.check_crop(picture.name, width, height)
    return pixels

  def _check_pair(self, index):
    first, *others = (
      self._file_sizes[domain, index] for domain in range(len(self._pictures))
    )
    for pictures, size in zip(self._pictures[1:], others):
      if size != first:
        raise UserError(
          f'{pictures[index].name}: {size[0]}x{size[1]}, and '
          f'{first[0]}x{first[1]} in {self._pictures[0][index].name}: a pair '
          'needs one size'
        )

  def _crop(self, pixels, corner, flip):
    """The part of a picture that the preprocessing mode shows, as drawn."""
    height, width = pixels.shape[:2]
    top, left = 0, 0
    if self._preprocess.crops:
      crop = self._preprocess.crop_size
      top = int(corner[0] * (height - crop + 1))
      left = int(corner[1] * (width - crop + 1))
      height, width = crop, crop
    rows = pixels[top : top + height]
    if flip and self._preprocess.flip:  # faster than a copy of [:, ::-1]
      return rows.take(np.arange(left + width - 1, left - 1, -1), axis=1)
    return rows[:, left : left + width]

  def _check_size(self, picture, array):
    if self._preprocess.crops:
      return
    height, width = array.shape[:2]
    self._size = self._size or (width, height)
    self._preprocess.check_one_size(picture.name, (width, height), self._size)


def load_test_image(picture, preprocess, values):
  """A test picture: resized, cropped in the middle, never mirrored.

  Args:
    picture: a `Picture`.
    preprocess: a `Preprocess`.
    values: `Values` of its domain, or channels.

  Returns:
    float32 [height, width, channels] in [-1, 1].

  Raises:
    UserError: it can't be used.
  """
  pixels = load(picture, values, preprocess.test_size)
  return from_pixels(preprocess.test_crop(pixels))
