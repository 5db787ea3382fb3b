"""Warnings of known failures of unpaired translation during training."""

import collections

import numpy as np
from scipy import ndimage

from cyclegan_jax.common.directions import opposite
from cyclegan_jax.common.images import luminance

_LOGGED = 5  # logged steps in a row in which a discriminator must have won
_SAMPLED = 2  # sample grids in a row that must show the same failure
# Before this step, translations show the initial weights: almost the same gray
# for any input, with a faint structure that is often inverted by chance.
_FIRST_STEP = 1000
_INVERTED = -0.5  # correlation with the input
_SAME, _DIFFERENT = 0.02, 0.1  # values of `spread`
_UNCHANGED = 0.03  # mean change of the luminance, on [-1, 1]


class Monitors:
  """Warns of each kind of failure once, when it has lasted for some time.

  Call `numbers` with the logged metrics and `pictures` with the sample grids.
  """

  def __init__(self, won, warn):
    """Stores the arguments; no step has been seen yet.

    Args:
      won: (mean score of real images, mean score of translations) -> True if
        the discriminator tells them apart almost without loss
        (`AdversarialLoss.won`); None to ignore the scores.
      warn: prints a line to the user.
    """
    self._won = won
    self._warn = warn
    self._times = collections.Counter()
    self._told = set()

  def numbers(self, step, metrics):
    """Checks the scores in the metrics of a logged step.

    Warns if a discriminator has won at several logged steps in a row.

    Args:
      step: number of steps done.
      metrics: {name: number}, the logged losses and scores.
    """
    if self._won is None:
      return
    for domain in 'ab':
      real = metrics.get(f'score_real_{domain}')
      fake = metrics.get(f'score_fake_{domain}')
      if real is None or fake is None:
        continue
      self._note(
        'won',
        domain,
        bool(self._won(real, fake)) and _won_line(step, domain, real, fake),
        _LOGGED,
      )

  def pictures(self, step, rows):
    """Checks the translations of a sample grid.

    Warns of inverted colours, unchanged pictures, collapse and droplets, if
    several grids in a row show them.

    Args:
      step: number of steps done when the translations were made.
      rows: {direction: (inputs, translations)}, lists of images [h, w, c] in
        [-1, 1].
    """
    if step < _FIRST_STEP:
      return
    for direction, (inputs, outputs) in rows.items():
      if not outputs:
        continue
      # Inputs of the opposite direction are real pictures of the target domain.
      real, _ = rows.get(opposite(direction), ((), ()))
      for trouble, look in _LOOKS.items():
        if trouble not in self._told:
          line = look(direction, inputs, outputs, real)
          self._note(
            trouble, direction, line and f'step {step}: {line}', _SAMPLED
          )

  def _note(self, trouble, where, line, times):
    """Counts a failure, and warns once if it was seen `times` times in a row.

    Args:
      trouble: the kind of failure.
      where: the domain or direction that shows the failure.
      line: the warning; false if the failure is not seen now.
      times: how many times in a row the failure must be seen.
    """
    key = (trouble, where)
    self._times[key] = self._times[key] + 1 if line else 0
    if self._times[key] >= times and trouble not in self._told:
      self._told.add(trouble)
      self._warn(line)


def _won_line(step, domain, real, fake):
  """Returns the warning for a discriminator that has won."""
  return (
    f'step {step}: the discriminator of {domain} has won for {_LOGGED} logged '
    f'steps (score {real:.2f} for real pictures, {fake:.2f} for translations): '
    'lower optim.lr_discriminator or discriminator.width'
  )


def _gray(image):
  """Returns the luminance [h, w] of an image [h, w, c], in the same range."""
  return luminance(image)[..., 0]


def correlation(x, y):
  """Pearson correlation of the luminance of two images.

  Args:
    x: image [h, w, c].
    y: image [h, w, c'].

  Returns:
    A float in [-1, 1]; 0 if the luminance of an image is constant.
  """
  x, y = (_gray(image) - _gray(image).mean() for image in (x, y))
  deviations = x.std() * y.std()
  # Rounding gives constant images a deviation that is not exactly 0.
  return float((x * y).mean() / deviations) if deviations > 1e-4 else 0.0


def spread(images):
  """Measures how much images differ from each other.

  Args:
    images: list of images [h, w, c] in [-1, 1], of any sizes.

  Returns:
    The standard deviation over the images of equal size, averaged over pixels
    and sizes, a float in [0, 1]; None if no two images have the same size.
  """
  sizes = collections.defaultdict(list)
  for image in images:
    sizes[image.shape].append(image)
  stacks = [np.stack(same) for same in sizes.values() if len(same) > 1]
  if not stacks:
    return None
  return float(
    np.average(
      [stack.std(axis=0).mean() for stack in stacks],
      weights=[len(stack) for stack in stacks],
    )
  )


_SIDE = 64  # least pixels of the shorter side when droplets are searched for
_WINDOW = 9  # pixels, of the median: it removes blobs of less than half of it
_RING = 3  # pixels around a blob; the nearest one may be its rim
_FAR = 0.6  # distance from the median, in a range of 2
_CALM = 0.3  # how much the ring may vary, as a share of the blob's distance


def droplets(image):
  """Number of droplets in an image.

  A droplet is a blob that is far from its surroundings, which are almost
  constant. Its width is 1/64 to 1/10 of the shorter side of the image, and its
  height is about the same.

  Args:
    image: [h, w, c] in [-1, 1].
  """
  image = _shrink(image)
  median = ndimage.median_filter(image, (_WINDOW, _WINDOW, 1))
  far = np.abs(image - median).max(axis=-1) > _FAR
  regions, count = ndimage.label(far, np.ones((3, 3)))
  boxes = ndimage.find_objects(regions)
  return sum(
    _is_droplet(image, regions == i + 1, boxes[i]) for i in range(count)
  )


def _shrink(image):
  """Averages squares of pixels of an image.

  The shorter side of the result has `_SIDE` to 2 * `_SIDE` - 1 pixels; smaller
  images are returned unchanged.
  """
  height, width, channels = image.shape
  n = max(1, min(height, width) // _SIDE)
  height, width = height // n, width // n
  squares = image[: height * n, : width * n]
  return squares.reshape(height, n, width, n, channels).mean(axis=(1, 3))


def _is_droplet(image, region, box):
  """Returns True if a region is small, round and in calm surroundings.

  Args:
    image: image [h, w, c] in [-1, 1].
    region: boolean mask [h, w] of the region.
    box: the slices of the region's bounding box.
  """
  shorter, longer = sorted(s.stop - s.start for s in box)
  if longer >= _WINDOW or longer > 2 * shorter or region[box].mean() < 0.5:
    return False
  grown = tuple(slice(s.start - _RING, s.stop + _RING) for s in box)
  if any(s.start < 0 or s.stop > n for s, n in zip(grown, region.shape)):
    return False  # the region may be cut off by the border
  pixels, region = image[grown], region[grown]
  around = pixels[~ndimage.binary_dilation(region, np.ones((3, 3)))]
  middle = np.median(around, axis=0)
  distance = np.abs(pixels[region] - middle[None]).max(axis=-1).mean()
  return bool(np.abs(around - middle[None]).max() < _CALM * distance)


def _inversion(direction, inputs, outputs, real):
  """Returns a warning if translations are inverted inputs, or ''."""
  del real
  mean = np.mean([correlation(x, y) for x, y in zip(inputs, outputs)])
  if mean >= _INVERTED:
    return ''
  return (
    f'{direction} turns bright into dark (correlation with the input '
    f'{mean:.2f}): if the domains do not differ like this, raise '
    'loss.identity_a and loss.identity_b to at least half of loss.cycle_a, or '
    'start a new run with another seed'
  )


def _collapse(direction, inputs, outputs, real):
  """Returns a warning if all translations are almost equal, or ''."""
  made, shown, there = spread(outputs), spread(inputs), spread(real)
  if made is None or made >= _SAME:
    return ''
  if shown < _DIFFERENT or (there is not None and there < _DIFFERENT):
    return ''
  return (
    f'{direction} gives almost the same translation of any picture '
    f'(translations differ by {made:.3f}, inputs by {shown:.3f}): raise '
    f'loss.cycle_{direction[0]}, or lower optim.lr'
  )


def _blobs(direction, inputs, outputs, real):
  """Returns a warning if most translations have droplets, or ''."""

  def count(images):
    return sum(droplets(image) > 0 for image in images)

  n = len(outputs)
  made = count(outputs)
  if n < 2 or made <= n / 2:
    return ''
  if max(count(inputs), count(real)) > 0.25 * made:
    return ''
  return (
    f'{direction} adds droplets to {made} of {n} pictures, which the inputs do '
    'not have: instance norm can cause droplets; try generator.norm=batch with '
    'train.batch_size above 1, or generator.norm=none'
  )


def _identity(direction, inputs, outputs, real):
  """Returns a warning if translations are almost their inputs, or ''."""
  del real
  changes = [
    np.abs(_gray(y) - _gray(x)).mean() for x, y in zip(inputs, outputs)
  ]
  if np.mean(changes) > _UNCHANGED:
    return ''
  return (
    f'{direction} leaves pictures unchanged (mean difference '
    f'{np.mean(changes):.3f} on [-1, 1]): if the domains do not look alike, '
    'lower the weights that keep a translation close to its input: loss.nce '
    '(to 1 in FastCUT), loss.self_regularization, loss.feature, '
    'loss.identity_a and loss.identity_b'
  )


# kind of failure -> (direction, inputs, translations, real pictures of the
# target domain) -> warning, or ''
_LOOKS = {
  'inversion': _inversion,
  'identity': _identity,
  'collapse': _collapse,
  'droplets': _blobs,  # Karras et al. 2020, Sec. 2
}
