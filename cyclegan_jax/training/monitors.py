"""Warnings of what unpaired translation is known to run into."""

import collections

import numpy as np
from scipy import ndimage

from cyclegan_jax.common.directions import opposite
from cyclegan_jax.common.images import luminance

_LOGGED = 5  # logged steps in a row that a discriminator must be sure
_SAMPLED = 2  # samplings in a row that must show the same
# Before it, pictures show the initial weights: the same gray for any input,
# whose faint structure is as often inverted as not.
_FIRST_STEP = 1000
_INVERTED = -0.5
_SAME, _DIFFERENT = 0.02, 0.1
_UNCHANGED = 0.03  # mean change of the luminance, on [-1, 1]


class Monitors:
  """Warns once of each trouble, when it has lasted."""

  def __init__(self, won, warn):
    """Has seen nothing yet.

    Args:
      won: `AdversarialLoss.won`, or None to let scores be.
      warn: says a line to the user.
    """
    self._won = won
    self._warn = warn
    self._times = collections.Counter()
    self._told = set()

  def numbers(self, step, metrics):
    """Looks at the metrics of a logged step, {name: number}."""
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
    """Looks at sample pictures.

    Args:
      step: the step they were made at.
      rows: {direction: (inputs, outputs)}, lists of [h, w, c] in [-1, 1].
    """
    if step < _FIRST_STEP:
      return
    for direction, (inputs, outputs) in rows.items():
      if not outputs:
        continue
      # What comes in on the way back is the domain's own pictures.
      real, _ = rows.get(opposite(direction), ((), ()))
      for trouble, look in _LOOKS.items():
        if trouble not in self._told:
          line = look(direction, inputs, outputs, real)
          self._note(
            trouble, direction, line and f'step {step}: {line}', _SAMPLED
          )

  def _note(self, trouble, where, line, times):
    """Says the line of a trouble seen so many times in a row, but once."""
    key = (trouble, where)
    self._times[key] = self._times[key] + 1 if line else 0
    if self._times[key] >= times and trouble not in self._told:
      self._told.add(trouble)
      self._warn(line)


def _won_line(step, domain, real, fake):
  return (
    f'step {step}: the discriminator of {domain} has won, for {_LOGGED} logged '
    f'steps: {real:.2f} for real pictures, {fake:.2f} for translations: lower '
    'optim.lr_discriminator or make discriminator.width smaller'
  )


def _gray(image):
  """[h, w, c] -> [h, w] in the same range."""
  return luminance(image)[..., 0]


def correlation(x, y):
  """Pearson's, of the luminance of two pictures; 0 if one is flat."""
  x, y = (_gray(image) - _gray(image).mean() for image in (x, y))
  deviations = x.std() * y.std()
  # A flat picture's deviation is not exactly 0.
  return float((x * y).mean() / deviations) if deviations > 1e-4 else 0.0


def spread(images):
  """How much pictures differ, in [0, 1].

  Args:
    images: list of [h, w, c] in [-1, 1].

  Returns:
    The standard deviation over the pictures of a size, mean over pixels; None
    if no two have the same size.
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


_SIDE = 64  # pixels of the shorter side when looking for droplets, or more
_WINDOW = 9  # of the median: blobs of less than half of it stand out
_RING = 3  # pixels around a blob, of which the nearest may be its rim
_FAR = 0.6  # from the median, of a range of 2
_CALM = 0.3  # the most the ring may vary, as a share of the blob's distance


def droplets(image):
  """Number of blobs far from calm surroundings in a picture [h, w, c].

  They are 1/64 to 1/10 as wide as the shorter side and about as wide as high.
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
  """Means of squares: the shorter side gets `_SIDE` pixels, or up to twice."""
  height, width, channels = image.shape
  n = max(1, min(height, width) // _SIDE)
  height, width = height // n, width // n
  squares = image[: height * n, : width * n]
  return squares.reshape(height, n, width, n, channels).mean(axis=(1, 3))


def _is_droplet(image, region, box):
  """Whether a region [h, w] of a picture is round and small, in calm."""
  shorter, longer = sorted(s.stop - s.start for s in box)
  if longer >= _WINDOW or longer > 2 * shorter or region[box].mean() < 0.5:
    return False
  grown = tuple(slice(s.start - _RING, s.stop + _RING) for s in box)
  if any(s.start < 0 or s.stop > n for s, n in zip(grown, region.shape)):
    return False  # it may be part of something larger
  pixels, region = image[grown], region[grown]
  around = pixels[~ndimage.binary_dilation(region, np.ones((3, 3)))]
  middle = np.median(around, axis=0)
  distance = np.abs(pixels[region] - middle[None]).max(axis=-1).mean()
  return bool(np.abs(around - middle[None]).max() < _CALM * distance)


def _inversion(direction, inputs, outputs, real):
  del real
  mean = np.mean([correlation(x, y) for x, y in zip(inputs, outputs)])
  if mean >= _INVERTED:
    return ''
  return (
    f'{direction} turns bright into dark (correlation with the input '
    f'{mean:.2f}): if the domains do not differ so, raise loss.identity_a and '
    'loss.identity_b to half of loss.cycle_a or more, or start anew with '
    'another seed'
  )


def _collapse(direction, inputs, outputs, real):
  made, shown, there = spread(outputs), spread(inputs), spread(real)
  if made is None or made >= _SAME:
    return ''
  if shown < _DIFFERENT or (there is not None and there < _DIFFERENT):
    return ''
  return (
    f'{direction} makes the same of any picture (outputs differ by {made:.3f}, '
    f'inputs by {shown:.3f}): raise loss.cycle_{direction[0]}, or lower '
    'optim.lr'
  )


def _blobs(direction, inputs, outputs, real):
  def count(images):
    return sum(droplets(image) > 0 for image in images)

  n = len(outputs)
  made = count(outputs)
  if n < 2 or made <= n / 2:
    return ''
  if max(count(inputs), count(real)) > 0.25 * made:
    return ''
  return (
    f'{direction} leaves droplets in {made} of {n} pictures, which the inputs '
    'do not have: instance norm is known for them, try generator.norm=batch '
    'with train.batch_size above 1, or generator.norm=none'
  )


def _identity(direction, inputs, outputs, real):
  del real
  changes = [
    np.abs(_gray(y) - _gray(x)).mean() for x, y in zip(inputs, outputs)
  ]
  if np.mean(changes) > _UNCHANGED:
    return ''
  return (
    f'{direction} leaves pictures as they are (mean difference '
    f'{np.mean(changes):.3f} on [-1, 1]): if the domains do not look alike, '
    'lower the weight that ties a translation to its input: loss.nce, to 1 in '
    'FastCUT, loss.self_regularization, loss.feature, loss.identity_a and '
    'loss.identity_b'
  )


# trouble -> (direction, inputs, outputs, real pictures of the domain made) ->
# what to tell the user, or ''
_LOOKS = {
  'inversion': _inversion,
  'identity': _identity,
  'collapse': _collapse,
  'droplets': _blobs,  # Karras et al. 2020, Sec. 2
}
