"""Grids of test pictures with titles, in the form of the paper's figures."""

import io
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cyclegan_jax.common import files, images

_LINE = 12  # height of a line of a title, in pixels
_LETTER = 6  # approximate width of a letter of Pillow's font, in pixels


def write(suites, workdir):
  """Writes figures/SUITE_DIRECTION.png with pictures of the first seed.

  A figure without pictures is not written.

  Args:
    suites: {name of a suite: `results.Asked`, the rows of the suite with the
      settings of its latest command}.
    workdir: folder that contains figures/.
  """
  for suite, asked in suites.items():
    for name, _, columns in _plans(suite, asked):
      picture = grid(columns)
      if picture is not None:
        files.write(workdir / _path(name), images.png(picture))


def there(suites, workdir):
  """Returns the figures that exist: {suite: [(title, path)]}.

  Args:
    suites: {name of a suite: `results.Asked`, the rows of the suite with the
      settings of its latest command}.
    workdir: folder that contains figures/; the paths are relative to it.
  """
  return {
    suite: [
      (title, _path(name))
      for name, title, _ in _plans(suite, asked)
      if (workdir / _path(name)).exists()
    ]
    for suite, asked in suites.items()
  }


def _path(name):
  return f'figures/{name}.png'


def _plans(suite, asked):
  """Yields (name, title, columns) per figure of a suite, for both directions.

  `columns` is [(title of the column, [picture file])].
  """
  experiment, rows = asked.experiment, asked.rows
  seed = experiment.seed_numbers()[0]
  folders = [(row, experiment.folder(row, seed) / row.pictures) for row in rows]
  folders = [(row, folder) for row, folder in folders if folder.is_dir()]
  for there, back in (('a2b', 'b2a'), ('b2a', 'a2b')):
    x, y = there[0], there[-1]
    if suite == 'reconstruction':
      names = (x, there, there + back[1:])
      heads = (f'input {x.upper()}', 'translation', 'reconstruction')
      title = f'Reconstruction, {x.upper()} to {y.upper()} and back'
      for _, folder in folders:
        columns = [(h, _files(folder, n)) for h, n in zip(heads, names)]
        yield f'{suite}_{there}', title, columns
    elif suite == 'limits':  # each row has its own test pictures
      for row, folder in folders:
        heads = ('input', row.name, 'ground truth')
        columns = [(h, _files(folder, n)) for h, n in zip(heads, (x, there, y))]
        name = row.name.lower().replace(', ', '_')
        yield f'{suite}_{name}_{there}', f'{row.name}, {there}', columns
    elif folders:
      first = folders[0][1]
      truth = experiment.facts(experiment.options).pairs
      columns = [
        ('input', _files(first, x)),
        *((row.name, _files(folder, there)) for row, folder in folders),
        *([('ground truth', _files(first, y))] if truth else []),
      ]
      yield f'{suite}_{there}', f'{suite}, {there}', columns


def _files(folder, name):
  return sorted(folder.glob(f'{name}_[0-9]*.png'))


def grid(columns):
  """Returns one image of columns of pictures with a title over each column.

  All pictures of a row are scaled to the size of its first picture.

  Args:
    columns: [(title, [picture file])]. A column without files is left out.

  Returns:
    uint8 [h, w, 3], or None if no column has files.
  """
  columns = [(title, paths) for title, paths in columns if paths]
  if not columns:
    return None
  rows = []
  for paths in zip(*(paths for _, paths in columns)):
    pictures = [_read(path) for path in paths]
    rows.append([_like(picture, pictures[0]) for picture in pictures])
  picture = images.grid(rows)
  width = -(-picture.shape[1] // len(columns))
  return np.concatenate(
    [_header([t for t, _ in columns], width, picture.shape[1]), picture]
  )


def _read(path):
  with Image.open(io.BytesIO(path.read_bytes())) as image:
    return image.convert('RGB')


def _like(picture, first):
  """Returns a picture as float32 [h, w, 3] in [-1, 1], as large as `first`."""
  if picture.size != first.size:
    picture = picture.resize(first.size, Image.Resampling.BICUBIC)
  return np.asarray(picture, np.float32) / 127.5 - 1


def _header(titles, width, total):
  """Returns the titles as a white uint8 image [h, `total`, 3].

  Each title starts at the left edge of its column of `width` pixels.
  """
  texts = [
    textwrap.wrap(title, max(1, width // _LETTER - 1)) for title in titles
  ]
  height = _LINE * max(map(len, texts)) + _LINE // 2
  image = Image.new('RGB', (total, height), 'white')
  draw = ImageDraw.Draw(image)
  for i, lines in enumerate(texts):
    for j, line in enumerate(lines):
      place = (i * width + 2, 2 + j * _LINE)
      draw.text(place, line, fill='black', font=ImageFont.load_default())
  return np.asarray(image)
