"""Pictures inside a page, and the sample grids of a run."""

import base64
import io
import math
import re
import warnings

import numpy as np
from PIL import Image

STEPS = 40
_SIDES = (1600, 4000)  # width and height of a grid, at most
_PIXELS = 40e6  # of all grids
_LOSSLESS = 128 * 128  # pixels up to which every one counts
_STEP = re.compile(r'step_(\d+)\.png')


def embedded(image, scale=1.0):
  """A PIL image as {'src': data URI, 'width', 'height'}.

  Small ones keep every pixel's value; larger ones are compressed.

  Args:
    image: RGB.
    scale: factor of its size, at most 1.
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
  """The sample grids of a run, `steps` of them spread evenly.

  Returns:
    {'note', 'titled': whether all have titles, as those of earlier versions
    have not, 'grids': [{'step', 'src', 'width', 'height'}]}.
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
    note += f' Shown at {scale:.0%} of their size; samples/ has the full ones.'
  if bad:
    note += f' Cannot be read: {", ".join(bad)}.'
  return {'note': note, 'titled': titled, 'grids': shown}


def _titled(image):
  """Returns True for a grid with titles: its first line of pixels is white."""
  return bool(np.asarray(image.crop((0, 0, image.width, 1))).min() == 255)


def _read(path):
  with warnings.catch_warnings():
    # A grid of large pictures is larger than Pillow expects.
    warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
      return image.convert('RGB')


def _scale(size, count):
  sides = [most / side for most, side in zip(_SIDES, size)]
  return min(1.0, *sides, math.sqrt(_PIXELS / count / (size[0] * size[1])))
