"""Test pictures of a run, translated and back."""

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

JUDGED = 100  # pictures a direction that best and worst are sought among
MARKED = 6  # best and worst shown, of each
_PIXELS = 40e6  # of all pictures
_SIZES = 8  # sizes a network is compiled for; further ones go by tiles


def gallery(workdir, count):
  """Test pictures, translated by the newest checkpoint.

  A run without checkpoint or pictures gets a note that says why.

  Args:
    workdir: the run's folder.
    count: pictures a direction, spread evenly; 0 for none.

  Returns:
    {'note', 'step': of the checkpoint or None, 'directions': [{'name', 'note',
    'columns', 'rows'}]}; a row has 'name', 'l1' (of the reconstruction, on
    [-1, 1]), 'mark' ('best', 'worst' or None), 'truth' ({metric: value} of the
    translation, for true pairs) and 'pictures', one a column.
  """
  nothing = {'step': None, 'directions': []}
  if not count:
    return nothing | {'note': 'No test pictures were asked for.'}
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
    + ('its weights.' if step is None else f'the checkpoint of step {step:,}.'),
    'step': step,
    'directions': [
      _direction(trained, data, direction, count)
      for direction in trained.directions
    ],
  }


def _direction(trained, data, direction, count):
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
  """The domain of each column."""
  there, back = direction.split('2')
  return [there, back, *there * reconstruct, *back * data.source.paired]


def _note_of_channels(data, direction):
  """Tells which channels are shown, where gray or RGB does not go without."""
  return ''.join(
    f' {d.upper()}: {images.shown_as(data.channels[d], data.show[d])}.'
    for d in direction.split('2')
    if data.show[d] or data.channels[d] not in (1, 3)
  )


def _spread(items, count):
  """`count` of the items, spread evenly, or all."""
  places = np.linspace(0, len(items) - 1, min(count, len(items)))
  return [items[i] for i in places.round().astype(int)]


def _pictures(data, direction, place):
  """The test image at a place and, of true pairs, the other one."""
  domains = [direction[0]] + [direction[2]] * data.source.paired
  found = []
  for domain in domains:
    # Read alone: not all at once, and none in the place of one that is bad.
    one = {domain: [data.source.test[domain][place]]}
    alone = data._replace(
      source=data.source._replace(test=one), on_bad_image='stop'
    )
    found += alone.test_images(domain)
  return found


def _row(data, direction, place, pictures, shows, most):
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
  pixels = images.to_rgb(np.nan_to_num(image), show)
  pixels = np.ascontiguousarray(pixels)
  scale = math.sqrt(_PIXELS / most / (pixels.shape[0] * pixels.shape[1]))
  return embedded(Image.fromarray(pixels), scale) | {
    'size': f'{pixels.shape[1]} x {pixels.shape[0]}'
  }


def _l1(x, y):
  """Infinite where the model gives no numbers, so that it is the worst."""
  error = float(np.abs(np.asarray(x) - np.asarray(y)).mean())
  return error if math.isfinite(error) else math.inf


def _chosen(rows, count):
  """Some spread evenly, and the best and worst reconstructed of all, marked."""
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
  note = f'{shown} of {total} {kind} pictures, spread evenly'
  if shown + len(bad) >= total:
    note = f'All {shown} {kind} pictures'
  if reconstruct:
    note += f', with the best and worst reconstructed of {judged}'
  note += '.'
  if bad:
    note += f' {len(bad)} cannot be used, the first: {bad[0]}'
  return note
