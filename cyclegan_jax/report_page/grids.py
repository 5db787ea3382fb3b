"""Sample grids of a run for its report, and images embedded in a page."""

import base64
import io
import math
import re
import warnings

import numpy as np
from PIL import Image

STEPS = 40  # sample grids in a report, at most
_SIDES = (1600, 4000)  # width and height of a grid in pixels, at most
_PIXELS = 40e6  # pixels of all grids together, at most
_LOSSLESS = 128 * 128  # images up to this many pixels are stored losslessly
_STEP = re.compile(r'step_(\d+)\.png')


def embedded(image, scale=1.0):
  """Returns an image for a page: {'src': data URI, 'width', 'height'}.

  The image is stored as WebP: losslessly up to `_LOSSLESS` pixels, else with
  lossy compression.

  Args:
    image: a PIL image, RGB.
    scale: factor that the image is resized by first; values above 1 count as 1.
  """
  if scale < 1:
    size = [max(1, round(side * scale)) for side in image.size]
    image = image.resize(size, Image.Resampling.LANCZOS)
  file = io.BytesIO()
  small = image.width * image.height <= _LOSSLESS
  image.save(file, 'WebP', lossless=small, quality=80 if small else 88)
  code = base64.b64encode(file.getvalue()).decode()
  return {
    'src': f'data:image/webp;base64,{code}',
    'width': image.width,
    'height': image.height,
  }


def grids(folder, steps=STEPS):
  """Returns the sample grids of a run, at most `steps`, spread evenly.

  Args:
    folder: the folder samples/ of the run, with files step_N.png.
    steps: largest number of grids.

  Returns:
    {'note', 'titled', 'grids': [{'step', 'src', 'width', 'height'}]}. 'titled'
    is True if every grid has titles above its columns; grids of earlier
    versions have none.
  """
  found = {
    int(match[1]): path
    for path in folder.glob('*.png')
    if (match := _STEP.fullmatch(path.name))
  }
  if not found:
    return {
      'note': 'No sample grids are drawn yet.',
      'titled': True,
      'grids': [],
    }
  numbers = sorted(found)
  places = np.linspace(0, len(numbers) - 1, min(steps, len(numbers)))
  shown, bad, scale, titled = [], [], 1.0, True
  for i in places.round().astype(int):
    try:
      pixels = _read(found[numbers[i]])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
      bad.append(found[numbers[i]].name)
      continue
    titled = titled and _titled(pixels)
    scale = _scale(pixels.size, len(places))
    shown.append({'step': numbers[i]} | embedded(pixels, scale))
  note = f'{len(shown)} sample grids.'
  if len(shown) + len(bad) < len(numbers):
    note = f'{len(shown)} of {len(numbers)} sample grids, spread evenly.'
  if scale < 1:
    note += f' Shown at {scale:.0%} of their size; samples/ has the full size.'
  if bad:
    note += f' Cannot be read: {", ".join(bad)}.'
  return {'note': note, 'titled': titled, 'grids': shown}


def _titled(image):
  """Returns True for a grid with titles: its top row of pixels is white."""
  return bool(np.asarray(image.crop((0, 0, image.width, 1))).min() == 255)


def _read(path):
  """Returns the PIL image in a file, as RGB."""
  with warnings.catch_warnings():
    # Pillow warns of images as large as a grid of large pictures.
    warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
      return image.convert('RGB')


def _scale(size, count):
  """Returns the factor, at most 1, by which `count` grids must shrink."""
  sides = [most / side for most, side in zip(_SIDES, size)]
  return min(1.0, *sides, math.sqrt(_PIXELS / count / (size[0] * size[1])))
