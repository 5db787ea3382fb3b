"""Test pictures of a run with their translations and reconstructions."""

import math
import pathlib

import numpy as np
from PIL import Image
from tqdm import tqdm

from cyclegan_jax.common import images
from cyclegan_jax.common.directions import opposite
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config.run import build_data
from cyclegan_jax.inference import batches, saved
from cyclegan_jax.metrics.pixels import PAIRED_METRICS
from cyclegan_jax.report_page.grids import embedded
from cyclegan_jax.training.workdir import Workdir

JUDGED = 100  # pictures per direction among which best and worst are found
MARKED = 6  # number of best pictures shown, and of worst pictures
_PIXELS = 40e6  # pixels of all pictures in the page together, at most
_SIZES = 8  # sizes that a network is compiled for; others are done in tiles


def gallery(workdir, count):
  """Returns test pictures with translations by the newest checkpoint.

  If no pictures were asked for, the run has no checkpoint, or its model or
  pictures cannot be read, 'note' gives the reason and 'directions' is empty.

  Args:
    workdir: the run folder.
    count: number of pictures per direction, spread evenly over the test set; 0
      for none.

  Returns:
    {'note', 'step': step of the checkpoint or None, 'directions': [{'name',
    'note', 'columns', 'rows'}]}. The 'note' of a direction says how many
    pictures are shown, and which cannot be used. 'columns' are titles, such as
    'real A'. A row has 'name', 'l1' (mean absolute error of the reconstruction,
    on [-1, 1]), 'mark' ('best', 'worst' or None), 'truth' ({metric: value} of
    the translation, for true pairs) and 'pictures', one encoded picture per
    column.
  """
  nothing = {'step': None, 'directions': []}
  if not count:
    return nothing | {'note': 'No test pictures were asked for (--pictures=0).'}
  is_run = Workdir(workdir).has_checkpoints()
  if not is_run and not saved.has_weights(workdir):
    return nothing | {'note': 'No test pictures: no checkpoint is saved yet.'}
  try:
    trained = saved.load(workdir)
    data = build_data(trained.config)
  except UserError as e:
    return nothing | {'note': f'No test pictures: {e}'}
  step = trained.step
  return {
    'note': 'Translated by '
    + ('the model.' if step is None else f'the checkpoint of step {step:,}.'),
    'step': step,
    'directions': [
      _direction(trained, data, direction, count)
      for direction in trained.directions
    ],
  }


def _direction(trained, data, direction, count):
  """Translates test pictures; returns the entry of a direction in `gallery`.

  Args:
    trained: the model.
    data: the `Dataset`.
    direction: 'a2b' or 'b2a'.
    count: number of pictures to show, in addition to the best and worst.
  """
  there, back = direction[0], direction[2]
  reconstruct = opposite(direction) in trained.directions
  total = len(data.source.test[there])
  kind = 'training' if there in data.source.stands_in else 'test'
  places = _spread(range(total), max(JUDGED, count) if reconstruct else count)
  columns = [f'real {there.upper()}', f'to {back.upper()}']
  columns += [f'back to {there.upper()}'] * reconstruct
  columns += [f'true {back.upper()}'] * data.source.paired
  most = len(columns) * len(trained.directions) * (count + 2 * MARKED)
  way = batches.Way(
    trained, direction, reconstruct, memory=batches.free_memory() // 2
  )
  shows = [data.show[d] for d in _domains(direction, reconstruct, data)]
  rows, bad, sizes = [], [], set()
  for place in tqdm(
    places, desc=direction, unit='picture', leave=False, disable=None
  ):
    try:
      image, *truth = _pictures(data, direction, place)
    except UserError as e:
      bad.append(str(e))
      continue
    sizes.add(image.shape)
    tile = len(sizes) > _SIZES and direction in trained.method.generators
    (made,) = way._replace(tile=tile).run([image])
    pictures = [image, *made, *truth]
    rows.append(_row(data, direction, place, pictures, shows, most))
    if reconstruct:
      rows[-1]['l1'] = _l1(image, made[1])
  shown = _chosen(rows, count) if reconstruct else rows
  return {
    'name': direction,
    'note': _note(len(shown), len(rows), total, reconstruct, bad, kind)
    + _note_of_channels(data, direction),
    'columns': columns,
    'rows': shown,
  }


def _domains(direction, reconstruct, data):
  """Returns the domain of each column, 'a' or 'b'."""
  there, back = direction.split('2')
  return [there, back, *there * reconstruct, *back * data.source.paired]


def _note_of_channels(data, direction):
  """Returns the sentences on displayed channels; '' for plain gray or RGB."""
  return ''.join(
    f' {d.upper()}: {images.shown_as(data.channels[d], data.show[d])}.'
    for d in direction.split('2')
    if data.show[d] or data.channels[d] not in (1, 3)
  )


def _spread(items, count):
  """Returns `count` of the items, spread evenly, or all if there are fewer."""
  places = np.linspace(0, len(items) - 1, min(count, len(items)))
  return [items[i] for i in places.round().astype(int)]


def _pictures(data, direction, place):
  """Returns the test image at a position and, for true pairs, its partner.

  Args:
    data: the `Dataset`.
    direction: 'a2b' or 'b2a'.
    place: position of the picture in the test set.
  """
  domains = [direction[0]] + [direction[2]] * data.source.paired
  found = []
  for domain in domains:
    # Each picture is read separately: not all are in memory at once, and an
    # unusable picture raises instead of being replaced by the next.
    one = {domain: [data.source.test[domain][place]]}
    alone = data._replace(
      source=data.source._replace(test=one), on_bad_image='stop'
    )
    found += alone.test_images(domain)
  return found


def _row(data, direction, place, pictures, shows, most):
  """Returns a row of the gallery, see `gallery`.

  Args:
    data: the `Dataset`.
    direction: 'a2b' or 'b2a'.
    place: position of the picture in the test set.
    pictures: the images of the row, one per column, in [-1, 1].
    shows: for each column the channels to show, as in `images.to_rgb`.
    most: largest number of pictures in the whole page.
  """
  there = direction[0]
  row = {
    'name': pathlib.PurePath(data.source.test[there][place].name).name,
    'l1': None,
    'mark': None,
    'truth': None,
    'pictures': [_embedded(x, show, most) for x, show in zip(pictures, shows)],
  }
  fake, truth = pictures[1], pictures[-1]
  if data.source.paired and fake.shape == truth.shape:
    row['truth'] = {
      name: float(metric(fake, truth))
      for name, metric in PAIRED_METRICS.items()
    }
  return row


def _embedded(image, show, most):
  """Returns an image as `grids.embedded`, with its 'size' in words.

  The image is made smaller if `most` pictures of its size would exceed
  `_PIXELS`.
  """
  pixels = images.to_rgb(np.nan_to_num(image), show)
  pixels = np.ascontiguousarray(pixels)
  scale = math.sqrt(_PIXELS / most / (pixels.shape[0] * pixels.shape[1]))
  return embedded(Image.fromarray(pixels), scale) | {
    'size': f'{pixels.shape[1]} x {pixels.shape[0]}'
  }


def _l1(x, y):
  """Returns the mean absolute difference; infinity instead of NaN.

  A reconstruction with NaN is then the worst one.
  """
  error = float(np.abs(np.asarray(x) - np.asarray(y)).mean())
  return error if math.isfinite(error) else math.inf


def _chosen(rows, count):
  """Returns the rows to show, after marking the best and worst of all rows.

  Args:
    rows: all rows, each with 'l1'. Sets 'mark' of the `MARKED` best and worst
      reconstructions (fewer if there are few rows).
    count: number of rows to show in addition, spread evenly.
  """
  order = sorted(range(len(rows)), key=lambda i: rows[i]['l1'])
  marked = min(MARKED, len(rows) // 2)
  for mark, places in (
    ('best', order[:marked]),
    ('worst', order[len(order) - marked :]),
  ):
    for i in places:
      rows[i]['mark'] = mark
  even = set(_spread(range(len(rows)), count))
  return [row for i, row in enumerate(rows) if i in even or row['mark']]


def _note(shown, judged, total, reconstruct, bad, kind):
  """Returns the sentences above the pictures of a direction.

  Args:
    shown: number of rows that are shown.
    judged: number of pictures that were translated.
    total: number of pictures in the set.
    reconstruct: True if there are reconstructions.
    bad: messages on pictures that cannot be used.
    kind: 'test' or 'training'.
  """
  note = f'{shown} of {total} {kind} pictures, spread evenly'
  if shown + len(bad) >= total:
    note = f'All {shown} {kind} pictures'
  if reconstruct:
    note += f', with the best and worst reconstructions of {judged}'
  note += '.'
  if bad:
    note += f' {len(bad)} cannot be used. The first: {bad[0]}'
  return note
