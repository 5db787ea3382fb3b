"""Trains the segmenter of the FCN score, which reads label maps from pictures:

    python -m cyclegan_jax.segmenter --config=configs/satellite2map.py \\
      --workdir=runs/segmenter

The segmenter is trained on the real training pictures of A and their label
maps. Then its scores on the real test pictures are printed, the ground-truth
row of the FCN score. Besides trainA and testA, the dataset needs trainLabels
and testLabels (PNG files of the same names, class numbers as gray values, 255
for pixels that are ignored) and classes.json; the built-in dataset has them. A
finished segmenter is not trained again. Exit codes: 0: done. 2: invalid input;
a one-line message says why. 130: stopped by Ctrl-C.
"""

import json
import pathlib
import sys
import time
import zlib

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program, run_name

FLAGS = {
  'workdir': (
    'DIR',
    '',
    'folder of the segmenter; by default runs/segmenter_CARD, or '
    'runs/segmenter_CARD_FOLDER for own pictures in a folder',
  ),
  'steps': ('N', 600, 'number of training steps'),
  'batch': ('N', 8, 'pictures in a step'),
  'width': ('N', 16, 'channels of the first layer of the network'),
  'seed': (
    'N',
    0,
    'random seed of the initial parameters, data order and augmentation',
  ),
}
# Increased when the same settings would train a different network.
_VERSION = 1
_MISSING = (
  'the dataset has no label maps: it needs trainLabels and testLabels (PNG '
  'files with class numbers as gray values, named like the pictures in trainA '
  'and testA) and classes.json, with --config.data.source=folder'
)


def main(argv):
  config, values = flags.parse_flags(argv, __doc__, FLAGS)
  data = run_name.name(flags.config_path(argv), config)
  default = f'runs/segmenter_{data}'
  folder = files.place(values['workdir'] or default)
  for name in ('steps', 'batch', 'width'):
    if values[name] < 1:
      raise UserError(f'--{name}={values[name]} must be at least 1')
  if values['seed'] < 0:
    raise UserError(f'--seed={values["seed"]} must be 0 or more')
  program.quiet()
  from cyclegan_jax.config.run import build_data, check_values
  from cyclegan_jax.metrics import segmenter_model
  from cyclegan_jax.metrics.table import markdown
  from cyclegan_jax.training import workdir

  check_values(config)
  dataset = build_data(config)
  source = dataset.source
  if source.train_labels is None or source.labels is None:
    raise UserError(_MISSING)
  if not dataset.values_of('a').plain:
    raise UserError(
      'a segmenter reads only gray or RGB pictures: set data.channels_a to 1 '
      'or 3, and data.range_a to auto'
    )
  wanted = _wanted(dataset, values)
  with workdir.open_workdir(folder):
    results = _finished(folder, wanted)
    if results is None:
      dataset = dataset.checked()
      params = _train(dataset, wanted)
      results = _test(dataset, wanted, params)
      segmenter_model.save(folder, wanted, params, results)
  row = {'direction': 'a', 'candidate': 'ground truth'} | results
  print('\nScores of the segmenter on the real test pictures:')
  print(markdown([row]))
  print(f'segmenter: {folder}')


def _wanted(dataset, values):
  """Returns the contents of config.json: all settings of the segmenter.

  A segmenter with equal contents need not be trained again.

  Args:
    dataset: the `Dataset`, with label maps.
    values: {flag: value}.
  """
  from cyclegan_jax.data import fingerprint

  pictures = dataset.source.train['a']
  names = '/'.join(pathlib.PurePath(p.name).name for p in pictures)
  entries = [
    fingerprint.entries_of(x, dataset.source.root)
    for x in (pictures, dataset.source.train_labels.pictures)
  ]
  return {
    'version': _VERSION,
    'classes': list(dataset.source.train_labels.classes),
    **{name: values[name] for name in ('width', 'steps', 'batch', 'seed')},
    **dataset.preprocess._asdict(),
    'pictures': {
      'count': len(pictures),
      'names': zlib.crc32(names.encode()),
      'files': fingerprint.digest(entries),
    },
  }


def _finished(folder, wanted):
  """Returns the scores of a finished segmenter; None if it is not finished.

  Args:
    folder: the folder of the segmenter.
    wanted: the result of `_wanted`.

  Raises:
    UserError: the folder has a segmenter with other settings, or damaged files.
  """
  from cyclegan_jax.metrics.segmenter_model import CONFIG

  if not (folder / CONFIG).exists():
    return None
  try:
    there = json.loads((folder / CONFIG).read_text())
    results = json.loads((folder / 'scores.json').read_text())
    files_now = {'files': wanted['pictures']['files']}
    # Earlier versions did not write this entry.
    there['pictures'] = files_now | there.get('pictures', {})
    changes = [
      f'{key} was {there.get(key)!r}, is {value!r}'
      for key, value in wanted.items()
      if there.get(key) != value
    ]
  except (OSError, ValueError, AttributeError) as e:
    raise UserError(
      f'{folder} (--workdir): the files of the segmenter cannot be read: '
      'remove the folder or use another --workdir'
    ) from e
  if changes:
    raise UserError(
      f'{folder} (--workdir) holds a segmenter with other settings '
      f'({"; ".join(changes)}): use those settings, or another --workdir'
    )
  print('already trained')
  return results


def _train(dataset, wanted):
  """Trains the segmenter, printing the loss, and returns its parameters."""
  from cyclegan_jax.metrics import segmenter_training

  started = time.perf_counter()
  params = segmenter_training.train(
    _network(wanted),
    segmenter_training.Batches(
      dataset.source.train['a'],
      dataset.source.train_labels,
      dataset.preprocess,
      wanted['batch'],
      wanted['seed'],
      int(dataset.cache_gb * 2**30),
    ),
    wanted['steps'],
    wanted['seed'],
    lambda step, loss: print(
      f'step {step} of {wanted["steps"]}: loss {loss:.3f}', flush=True
    ),
  )
  print(f'trained in {time.perf_counter() - started:.0f} s')
  return params


def _network(wanted):
  from cyclegan_jax.metrics.segmenter_model import Segmenter

  return Segmenter(len(wanted['classes']), wanted['width'])


def _test(dataset, wanted, params):
  """Returns {column: score} of the segmenter on the real test pictures of A."""
  from cyclegan_jax.metrics import segmenter_model, segmenter_training

  return segmenter_training.ground_truth(
    segmenter_model.function(_network(wanted), params),
    dataset.source.test['a'],
    dataset.source.labels,
    dataset.preprocess,
  )


if __name__ == '__main__':
  sys.exit(program.run(main))
