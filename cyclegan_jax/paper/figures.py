"""Grids of test pictures with titles, in the form of the paper's figures."""

import io
import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cyclegan_jax.common import files, images

_LINE = 12  # pixels of a line of the titles
_LETTER = 6  # about as wide as a letter of Pillow's font


def write(suites, workdir):
  """Writes figures/SUITE_DIRECTION.png, of the first seed.

  Args:
    suites: {name: `results.Asked`}.
    workdir: where figures/ is.
  """
  for suite, asked in suites.items():
    for name, _, columns in _plans(suite, asked):
      picture = grid(columns)
      if picture is not None:
        files.write(workdir / _path(name), images.png(picture))


def there(suites, workdir):
  """The figures written: {suite: [(title, path in the workdir)]}."""
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
  """For each figure its name, title and columns [(title, [file])]."""
  experiment, rows = asked.experiment, asked.rows
  seed = experiment.seed_numbers()[0]
  folders = [(row, experiment.folder(row, seed) / row.pictures) for row in rows]
  folders = [(row, folder) for row, folder in folders if folder.is_dir()]
  for there, back in (('a2b', 'b2a'), ('b2a', 'a2b')):
    x, y = there[0], there[-1]
    if suite == 'reconstruction':
      names = (x, there, there + back[1:])
      heads = (f'input {x.upper()}', 'translated', 'translated back')
      title = f'Reconstruction, {x.upper()} to {y.upper()} and back'
      for _, folder in folders:
        columns = [(h, _files(folder, n)) for h, n in zip(heads, names)]
        yield f'{suite}_{there}', title, columns
    elif suite == 'limits':  # the rows are tested on different pictures
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
  """Columns of pictures under their titles.

  Args:
    columns: [(title, [picture file])]; those without pictures are left out.

  Returns:
    uint8 [h, w, 3], or None if there is nothing to show.
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
  """[h, w, 3] in [-1, 1], of the size of another picture."""
  if picture.size != first.size:
    picture = picture.resize(first.size, Image.Resampling.BICUBIC)
  return np.asarray(picture, np.float32) / 127.5 - 1


def _header(titles, width, total):
  """The titles, each over its column of some pixels."""
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
