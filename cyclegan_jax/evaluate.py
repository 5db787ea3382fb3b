"""Evaluates a model on the test pictures of a dataset:

    python -m cyclegan_jax.evaluate --model=runs/NAME --metrics=l1,lpips,kd_vgg

Prints a table and writes the results as JSON (--output). Metrics that compare
true pairs: l1 psnr ssim dice lpips lpips_vgg. Metrics that compare sets of
pictures: fid kid, which need --inception, and the same statistics of VGG-16 and
AlexNet features, fd_vgg kd_vgg fd_alex kd_alex. Metrics that compare label
maps: fcn, which needs --segmenter or --predictions in direction b2a, and
palette, the per-pixel accuracy of fcn in direction a2b. The test pictures are
those of --config, or of the model's own config, changed by
--config.data.KEY=VALUE. Several processes can share the translations
(--distributed=auto, or --coordinator, --num-processes and --process-id). Exit
codes: 0: done. 2: invalid input; a one-line message says why.
"""

import json
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import changes as config_changes
from cyclegan_jax.config import flags, program

FLAGS = {
  **{k: v for k, v in flags.MODEL_FLAGS.items() if k != 'direction'},
  'metrics': (
    'NAMES',
    '',
    'metrics, separated by commas; by default l1,psnr,ssim for true pairs',
  ),
  'segmenter': (
    'PATH',
    '',
    'fcn: network that reads label maps from pictures, a folder of '
    'cyclegan_jax.segmenter or an .onnx file',
  ),
  'predictions': (
    'FOLDER',
    '',
    'fcn: folder of label maps read by another program from the translations '
    'of B, with class numbers as gray values and the file names of the test '
    'pictures',
  ),
  'palette': (
    'NAME',
    '',
    'cityscapes: read the label maps from the colours of the test pictures of '
    'B',
  ),
  'inception': (
    'FILE',
    '',
    'fid, kid: file with the Inception weights of PyTorch-FID',
  ),
  'resize': (
    'NAME',
    'clean',
    'clean | pytorch-fid: how fid and kid resize pictures for Inception',
  ),
  'subsets': ('N', 100, 'kid, kd_vgg, kd_alex: number of random subsets'),
  'subset-size': ('N', 1000, 'kid, kd_vgg, kd_alex: pictures in each subset'),
  'seed': ('N', 0, 'kid, kd_vgg, kd_alex: random seed of the subsets'),
  'on-training-pictures': (
    '',
    False,
    'evaluate on training pictures if the dataset has no test pictures',
  ),
  'output': (
    'FILE',
    '',
    'JSON file to write; by default evaluation.json in the run folder',
  ),
  **flags.PROCESS_FLAGS,
}
_BATCH = 4  # pictures that a process translates at a time


def main(argv):
  config, changes, values = _parse(argv)
  flags.require(values, 'model')
  for name, least in (('subsets', 2), ('subset-size', 2), ('seed', 0)):
    if values[name] < least:
      raise UserError(f'--{name}={values[name]} must be at least {least}')
  if values['segmenter'] and values['predictions']:
    raise UserError('--segmenter and --predictions: give only one of the two')
  program.quiet()
  from cyclegan_jax.common import hosts
  from cyclegan_jax.inference import saved
  from cyclegan_jax.metrics import notes, test_set
  from cyclegan_jax.metrics.table import markdown, table
  from cyclegan_jax.training import processes

  processes.join(values)
  step = None if values['step'] < 0 else values['step']
  with processes.together():
    loaded = saved.load(values['model'], step, values['batch-norm'])
    if not loaded.directions:
      raise UserError(f'{values["model"]} (--model) has no generator')
    tests = _tests(
      config or config_changes.changed(loaded.config, changes, values['model']),
      loaded,
      values,
      given=bool(config or changes),
    )
    chosen = _metrics(tests, loaded.directions, values)
    test_set.check(tests, loaded.directions, chosen)
  rows = table(
    hosts.shared(loaded.translate),
    tests,
    loaded.directions,
    chosen,
    batch=_BATCH * hosts.processes(),
  )
  if hosts.writes():
    print(markdown(rows), end='')
    for line in notes.lines(chosen, tests):
      print(f'note: {line}')
    _write(values, {'model': loaded.name, 'step': loaded.step, 'rows': rows})
  hosts.wait_for_all('end')


def _parse(argv):
  """Reads the command line.

  Returns:
    The config, or None without --config; {option: value} of the changes to the
    model's own config, {} with --config; and {flag: value}.
  """
  words = [word.lstrip('-').partition('=')[0] for word in argv]
  if 'config' in words or {'help', 'h', 'helpfull'} & set(words):
    config, values = flags.parse_flags(argv, __doc__, FLAGS)
    return config, {}, values
  changes, values = flags.parse_changes(argv, FLAGS, config_changes.CHANGEABLE)
  config_changes.check(changes, FLAGS)
  return None, changes, values


def _tests(config, loaded, values, given):
  """Returns the `Truth` that a model is evaluated on.

  Args:
    config: a ConfigDict that says which pictures to use.
    loaded: the model.
    values: {flag: value}.
    given: True if the user chose the pictures. Otherwise they are compared with
      the record of the run, and a difference is printed.
  """
  from cyclegan_jax.config.run import build_data, check_values
  from cyclegan_jax.metrics import labels as label_maps
  from cyclegan_jax.metrics import test_set

  check_values(config)
  data = build_data(config_changes.with_values(config, loaded.config))
  if data.skips:
    data = data.checked()
  tests = test_set.truth(
    data,
    values['on-training-pictures'] or config.evaluate.on_training_pictures,
    '--on-training-pictures',
  )
  _say_notes(data, '' if given else values['model'])
  if values['palette']:
    palettes = {'cityscapes': label_maps.CITYSCAPES}
    palette = lookup(palettes, values['palette'], '--palette')
    _check_colours(data)
    tests = tests._replace(
      labels=coloured_labels(data, palette), colours=palette.colours
    )
  if values['predictions'] and tests.labels is not None:
    names = [picture.name for picture in data.source.test['b']]
    folder = values['predictions']
    tests = tests._replace(predicted=label_maps.predicted_labels(folder, names))
  return tests


def _say_notes(data, run):
  """Prints notes on the test pictures.

  Args:
    data: the `Dataset`.
    run: the run whose recorded test pictures must be the same, or ''.
  """
  from cyclegan_jax.common import hosts
  from cyclegan_jax.config import identity
  from cyclegan_jax.hub import address

  if not hosts.writes():
    return
  for line in data.notes:
    print(f'note: {line}')
  if address.is_address(run):  # a model of the Hub has no record of pictures
    return
  if change := run and identity.other_tests(run, data.source):
    print(f'note: the test pictures differ from those of the run ({change})')


def _check_colours(data):
  """Raises `UserError` if B has no colours that --palette can read."""
  if data.channels['b'] not in (1, 3):
    raise UserError(
      f'--palette reads label maps from the colours of B, but B has '
      f'{data.channels["b"]} channels (data.channels_b): leave out --palette'
    )


def coloured_labels(data, palette):
  """Returns the label maps that the test pictures of B show by their colours.

  Args:
    data: a `Dataset`.
    palette: a `metrics.labels.Palette`: the colour of each class.

  Returns:
    A sequence of class numbers, int64 [h, w], scaled and cropped like the test
    pictures. A picture is read each time its label map is accessed.
  """
  from cyclegan_jax.common.images import from_pixels
  from cyclegan_jax.data import decode
  from cyclegan_jax.metrics import labels as label_maps
  from cyclegan_jax.metrics import test_set

  def read(picture):
    # At the original size: resizing would mix the colours of two classes.
    pixels = decode.load(picture, 3)
    labels = label_maps.labels_of_picture(from_pixels(pixels), palette)
    return label_maps.as_shown(labels, data.preprocess)

  return test_set.Lazy(read, data.source.test['b'])


def _metrics(tests, directions, values):
  """Returns the list of `Metric` that --metrics asks for."""
  from cyclegan_jax.metrics import registry
  from cyclegan_jax.metrics.base import Needs

  names = registry.names(values['metrics'])
  if not names and tests.paired:
    names = ['l1', 'psnr', 'ssim']
  if not names:
    raise UserError(
      'no --metrics: the test pictures are not true pairs, so give metrics of '
      'sets of pictures, such as --metrics=kd_vgg'
    )
  needs = Needs(
    paired=tests.paired,
    directions=directions,
    colours=tests.colours,
    segmenter=values['segmenter'],
    predicted=tests.predicted is not None,
    inception=values['inception'],
    resize=values['resize'],
    subsets=values['subsets'],
    subset_size=values['subset-size'],
    seed=values['seed'],
  )
  return registry.make(names, needs)


def _write(values, content):
  """Writes the results to --output, or to evaluation.json of a run."""
  from cyclegan_jax.hub import address
  from cyclegan_jax.training.workdir import Workdir

  path = files.place(values['output'])
  if not values['output']:
    if address.is_address(values['model']):
      return
    work = Workdir(values['model'])
    if not work.checkpoints.is_dir():
      return
    path = work.evaluation
  with files.writing(path):
    files.write(path, json.dumps(content, indent=2) + '\n')
  print(f'written to {path}')


if __name__ == '__main__':
  sys.exit(program.run(main))
