"""Times the input pipeline, in turn with PyTorch's DataLoader if installed.

  python benchmarks/input.py --size=256 --load-size=286

JPEG files become batches as in the official code: resized, cropped at random,
mirrored at random, scaled to [-1, 1]. This project caches decoded pictures, so
it is timed in its first epoch, in later epochs, and without the cache (as with
more pictures than the cache can keep). PyTorch decodes each picture every time.
All contenders use the same number of threads (PyTorch: worker processes) and
take turns. Images per second count both domains.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import report
from PIL import Image

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program

_PYTORCH = 'PyTorch DataLoader'
_EPOCHS = 6  # after these, nearly every picture of B has been drawn
_FLAGS = {
  'size': (256, 'side of the images in pixels'),
  'load_size': (286, 'side that pictures are scaled to before the crop'),
  'batch': (1, 'images per domain and batch'),
  'threads': (2, 'threads of this project and worker processes of PyTorch'),
  'images': (200, 'pictures per domain; a round is one pass over them'),
  'rounds': (5, 'turns per contender'),
}


def main(argv):
  args = _parse(argv)
  print(f'{report.header(argv)}\n{_versions()}', flush=True)
  program.quiet()
  with contextlib.ExitStack() as stack:
    root = args.root
    if not root:
      root = stack.enter_context(tempfile.TemporaryDirectory())
      write_pictures(pathlib.Path(root), args.images, args.size)
    source = _source(root, args.images)
    print(_setup(source, args), flush=True)
    speeds = race(_contenders(source, args), args)
  print('\n' + table(speeds))
  if _PYTORCH not in speeds:
    print('\nPyTorch is not installed: it is left out')


class _Parser(argparse.ArgumentParser):
  def error(self, message):
    raise UserError(f'{message} (see --help)')


def _parse(argv):
  parser = _Parser(
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  for name, (default, meaning) in _FLAGS.items():
    parser.add_argument(
      f'--{name.replace("_", "-")}',
      type=int,
      default=default,
      help=f'{meaning} ({default})',
    )
  parser.add_argument(
    '--root',
    metavar='FOLDER',
    help='folder of your own trainA and trainB, of which at most --images '
    'pictures each are used (default: generated pictures)',
  )
  args = parser.parse_args(argv[1:])
  for name in _FLAGS:
    if getattr(args, name) < 1:
      flag = name.replace('_', '-')
      raise UserError(f'--{flag}={getattr(args, name)} must be at least 1')
  least = (_ahead(args) + 1) * args.batch
  if args.images < least:
    raise UserError(
      f'--images={args.images}: at least {least} are needed with this --batch '
      'and --threads, as timing starts after the first batches'
    )
  return args


def _ahead(args):
  """Returns an upper limit of the batches that a contender prepares ahead."""
  return 2 * args.threads + 2


def _versions():
  installed = []
  for name in ('tensorflow', 'tensorflow-cpu', 'pillow'):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
      installed.append(f'{name} {importlib.metadata.version(name)}')
  return ', '.join(installed)


def write_pictures(root, count, size):
  """Writes generated JPEG files of quality 95 to trainA and trainB.

  Args:
    root: path of the folder of trainA and trainB.
    count: number of pictures per domain.
    size: side of the pictures in pixels.
  """
  rng = np.random.default_rng(0)
  for domain in 'AB':
    folder = root / f'train{domain}'
    folder.mkdir()
    for i in range(count):
      file = folder / f'{i}.jpg'
      Image.fromarray(_picture(rng, size)).save(file, quality=95)


def _picture(rng, size):
  """Returns uint8 [size, size, 3] about as complex as a photo.

  The picture consists of clouds, edges and some grain.
  """
  pixels = np.full((size, size, 3), 128.0)
  for cells, contrast in ((2, 90), (5, 60), (size // 16 + 1, 40)):
    clouds = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
    clouds = clouds.resize((size, size), Image.Resampling.BICUBIC)
    pixels += contrast * (np.asarray(clouds) / 127.5 - 1)
  y, x = np.mgrid[:size, :size] / size
  for _ in range(12):
    top, left = rng.random(2)
    shape = (x - left) ** 2 + (y - top) ** 2 < rng.uniform(0.1, 0.4) ** 2
    shape &= x > rng.uniform(0, 1) * y
    pixels[shape] += rng.uniform(-70, 70, 3)
  pixels += rng.normal(0, 4, (size, size, 1))
  return np.clip(pixels, 0, 255).astype(np.uint8)


def _source(root, count):
  """Returns the `Source` of the first `count` pictures of each domain."""
  from cyclegan_jax.data import sources

  source = sources.folder(root)
  train = {d: source.train[d][:count] for d in ('a', 'b')}
  return sources.Source(train=train, test=train)


def _setup(source, args):
  files = {d: [p.data for p in source.train[d]] for d in ('a', 'b')}
  sizes = [f.stat().st_size / 1000 for x in files.values() for f in x]
  return (
    f'{args.size} px cut from {args.load_size} px, batch {args.batch}, '
    f'{args.threads} threads; {len(files["a"])} + {len(files["b"])} files of '
    f'{statistics.mean(sizes):.0f} kB'
  )


def _contenders(source, args):
  """Returns {name: function () that returns the batches of the next turn}."""
  from cyclegan_jax.data.dataset import Dataset
  from cyclegan_jax.data.preprocess import preprocess

  prepare = preprocess('resize_and_crop', args.load_size, args.size, flip=True)

  def ours(**options):
    dataset = Dataset(
      source, prepare, {'a': 3, 'b': 3}, threads=args.threads, **options
    )
    return dataset.batches(seed=0, batch_size=args.batch)

  later, uncached = ours(), ours(cache_gb=0)
  for _ in range(_EPOCHS * args.images // args.batch):
    next(later)
  result = {
    'first epoch': ours,
    'later epochs': lambda: later,
    'no cache': lambda: uncached,
  }
  if importlib.util.find_spec('torch'):
    import torch_input

    files = [[p.data for p in source.train[d]] for d in ('a', 'b')]
    loader = torch_input.batches(
      *files, args.load_size, args.size, args.batch, args.threads
    )
    result[_PYTORCH] = lambda: loader
  return result


def race(contenders, args):
  """Times the contenders in turn.

  Args:
    contenders: {name: function () that returns an iterator of batches}.
    args: parsed flags; `rounds`, `images`, `batch` and `threads` are used.

  Returns:
    {name: [images per second in each round]}.
  """
  speeds = {name: [] for name in contenders}
  for _ in range(args.rounds):
    for name, batches in contenders.items():
      speeds[name].append(_speed(batches(), args))
  return speeds


def _speed(batches, args):
  """Returns the images of both domains per second over one epoch.

  The batches that may have been prepared ahead are not timed.
  """
  for _ in range(_ahead(args)):
    next(batches)
  steps = args.images // args.batch - _ahead(args)
  begin = time.perf_counter()
  for _ in range(steps):
    next(batches)
  return 2 * args.batch * steps / (time.perf_counter() - begin)


def table(speeds):
  """Returns a Markdown table of speeds, in images per second.

  The ratio to PyTorch is the median of the ratios of the rounds.

  Args:
    speeds: {name of a contender: [images per second in each round]}, as `race`
      returns it.
  """
  rows = [['input', 'images/s', 'range', '/ PyTorch'], ['---'] * 4]
  for name, values in speeds.items():
    ratios = [x / y for x, y in zip(values, speeds.get(_PYTORCH, []))]
    rows.append(
      [
        name if name == _PYTORCH else f'cyclegan_jax, {name}',
        f'{statistics.median(values):.0f}',
        f'{min(values):.0f} - {max(values):.0f}',
        f'{statistics.median(ratios):.2f}' if ratios else '-',
      ]
    )
  return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


if __name__ == '__main__':
  sys.exit(program.run(main))
