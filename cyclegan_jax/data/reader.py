"""Reads training and test images: decodes, checks, caches, crops, mirrors."""

import threading

import numpy as np

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.common.images import from_pixels
from cyclegan_jax.data import partly
from cyclegan_jax.data.bad_pictures import stand_in
from cyclegan_jax.data.decode import SPAN, decoded, load, resized
from cyclegan_jax.data.raw import OUTSIDE


class Cache:
  """Cache of decoded pictures with a limited size. Safe for threads.

  `get` returns the array of a key and reads it if it is not stored. Nothing is
  evicted: once the budget is used up, new arrays are not stored.

  Args:
    budget: maximum size of all stored arrays together, in bytes.
  """

  def __init__(self, budget):
    self._left = budget
    self._arrays = {}
    self._lock = threading.Lock()
    self._locks = {}

  def get(self, key, make):
    """Returns the array of a key, from the cache or else from `make`.

    Args:
      key: identifies the picture; hashable.
      make: () -> array, called if the key is not stored. The array is then
        stored if it fits into the budget.
    """
    with self._lock:
      lock = self._locks.setdefault(key, threading.Lock())
    with lock:  # so that two threads do not read the same picture
      array = self._arrays.get(key)
      if array is None:
        array = make()
        with self._lock:
          if array.nbytes <= self._left:
            self._arrays[key] = array
            self._left -= array.nbytes
    return array

  def close(self):
    """Removes all arrays; later arrays are no longer stored."""
    with self._lock:
      self._arrays.clear()
      self._left = 0


class Reader:
  """Function that reads training images of one domain, or of true pairs.

  A call reads a batch; `names` returns the names of pictures. The two images of
  a true pair get the same crop and the same flip. With data.on_bad_image=skip
  the next usable picture is read in place of a picture that cannot be used.

  Args:
    data: a `Dataset`.
    domains: 'a', 'b', or 'ab' for true pairs.
    cache: the `Cache` of the decoded and resized pictures.

  Attributes:
    error: the last exception of a call, or None. TensorFlow, which calls the
      reader, does not pass exceptions on.
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
    # In a mode that does not crop, pictures of any other size are skipped.
    self._only_size = data.sizes.get(domains[0]) if data.skips else None
    self._file_sizes = {}

  def __call__(self, indices, corners, flips):
    """Reads the images of a batch, cropped and mirrored.

    Args:
      indices: int [count], positions of the pictures in the training set.
      corners: float [count, 2] in [0, 1): position of the top left corner of
        each crop, vertical and horizontal, as a share of the free space.
      flips: [count], nonzero to mirror the image left to right.

    Returns:
      A list with one array per domain, float32 [count, height, width, channels]
      in [-1, 1].

    Raises:
      UserError: a picture cannot be used. Any exception is also stored in
        `error`.
    """
    try:
      pixels = [self._read(i) for i in indices.tolist()]
    except Exception as e:  # an unusable picture, a bucket that fails
      self.error = e
      raise
    return [self._augment(x, corners, flips) for x in zip(*pixels)]

  def _augment(self, pixels, corners, flips):
    """Returns the cropped and mirrored images of one domain, in [-1, 1]."""
    crops = [self._crop(*args) for args in zip(pixels, corners, flips)]
    images = np.empty((len(crops), *crops[0].shape), np.float32)
    for image, crop in zip(images, crops):
      from_pixels(crop, out=image)
    return images

  def _read(self, index):
    """Returns the resized pixels of a picture in [0, 255], per domain."""
    index, pixels = self._find(index)
    self._check_size(self._pictures[0][index], pixels[0])
    return pixels

  def names(self, index):
    """Returns the names of the pictures that are read for an index.

    Args:
      index: position of a picture in the training set.

    Returns:
      A list with one name per domain. With data.on_bad_image=skip an unusable
      picture is replaced by the picture that is read in its place.
    """
    index = self._find(index)[0] if self._skips else index
    return [pictures[index].name for pictures in self._pictures]

  def _find(self, index):
    """Returns (index, pixels per domain) of the picture used for an index."""
    if self._skips:
      return stand_in(self._decode, self._pictures[0], index, self._bad)
    return index, self._decode(index)

  def _decode(self, index):
    """Returns the checked and resized pixels at an index, per domain."""
    pixels = [self._decode_one(i, index) for i in range(len(self._pictures))]
    self._check_pair(index)
    if self._only_size:
      name, shape = self._pictures[0][index].name, pixels[0].shape
      self._preprocess.check_one_size(name, shape[1::-1], self._only_size)
    return pixels

  def _decode_one(self, domain, index):
    """Returns the resized pixels of a picture, from the cache or its file.

    Args:
      domain: position of the domain in `domains`: 0 or 1.
      index: position of the picture in the training set.
    """
    picture, values = self._pictures[domain][index], self._values[domain]

    def make():
      """Decodes and resizes the picture, and warns of partly used values."""
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
    """Raises `UserError` if the pictures of a true pair differ in size."""
    first, *others = (
      self._file_sizes[domain, index] for domain in range(len(self._pictures))
    )
    for pictures, size in zip(self._pictures[1:], others):
      if size != first:
        raise UserError(
          f'{pictures[index].name}: {size[0]}x{size[1]}, but '
          f'{first[0]}x{first[1]} in {self._pictures[0][index].name}: the '
          'pictures of a pair need the same size'
        )

  def _crop(self, pixels, corner, flip):
    """Returns the crop of a picture, mirrored if `flip` and the mode say so."""
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
    """Raises `UserError` if the mode needs one size and a picture has another.

    The first picture that is read decides the size.
    """
    if self._preprocess.crops:
      return
    height, width = array.shape[:2]
    self._size = self._size or (width, height)
    self._preprocess.check_one_size(picture.name, (width, height), self._size)


def load_test_image(picture, preprocess, values):
  """Reads a test picture: resized and centre-cropped, but never mirrored.

  Args:
    picture: a `Picture`.
    preprocess: the `Preprocess` of the dataset.
    values: `Values` (channels and value range) of the domain of the picture, or
      its number of channels.

  Returns:
    The image, float32 [height, width, channels] in [-1, 1].

  Raises:
    UserError: the picture cannot be used.
  """
  pixels = load(picture, values, preprocess.test_size)
  return from_pixels(preprocess.test_crop(pixels))
