"""Measures a model on the test pictures of a data set:

    python -m cyclegan_jax.evaluate --model=runs/NAME --metrics=l1,lpips,kd_vgg

Prints a table and writes it as JSON (--output). Metrics of true pairs: l1 psnr
ssim dice lpips lpips_vgg. Of sets of pictures: fid kid, which need --inception,
and the same statistics on other features, fd_vgg kd_vgg fd_alex kd_alex. Of
label maps: fcn, which in b2a needs --segmenter or --predictions, and palette,
its per-pixel accuracy in a2b. The pictures are those of --config, or of the
config the run was trained with, changed by --config.data.KEY=VALUE. Several
processes share the translations (--distributed=auto, or the three flags behind
it). Exit codes: 0 done, 2 something given doesn't fit.
"""

import json
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import changes as config_changes
from cyclegan_jax.config import flags, program

FLAGS = {
  **{k: v for k, v in flags.MODEL_FLAGS.items() if k != 'direction'},
  'metrics': ('NAMES', '', 'what by, with commas; of pairs l1,psnr,ssim'),
  'segmenter': (
    'PATH',
    '',
    'for fcn: a folder of cyclegan_jax.segmenter, or an .onnx file',
  ),
  'predictions': (
    'FOLDER',
    '',
    'for fcn: label maps that were read from the translations of B, class '
    'numbers as gray values, named as the pictures',
  ),
  'palette': (
    'NAME',
    '',
    "cityscapes: label maps are read from the colours of B's test pictures",
  ),
  'inception': ('FILE', '', 'for fid and kid: the weights of PyTorch-FID'),
  'resize': ('NAME', 'clean', 'clean | pytorch-fid: resizing for Inception'),
  'subsets': ('N', 100, 'for kid, kd_vgg, kd_alex: random subsets'),
  'subset-size': ('N', 1000, 'and the pictures in each'),
  'seed': ('N', 0, 'of these subsets'),
  'on-training-pictures': (
    '',
    False,
    'measures training pictures where there are no test pictures',
  ),
  'output': ('FILE', '', 'JSON file; of a run RUN/evaluation.json'),
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
    raise UserError('--segmenter and --predictions: give one of them')
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
      raise UserError(f'{values["model"]} (--model) holds no generator')
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
  """The config, or None if none is given; {option: value}; {flag: value}.

  Without --config the options are changes to the config of the model.
  """
  words = [word.lstrip('-').partition('=')[0] for word in argv]
  if 'config' in words or {'help', 'h', 'helpfull'} & set(words):
    config, values = flags.parse_flags(argv, __doc__, FLAGS)
    return config, {}, values
  changes, values = flags.parse_changes(argv, FLAGS, config_changes.CHANGEABLE)
  config_changes.check(changes, FLAGS)
  return None, changes, values


def _tests(config, loaded, values, given):
  """The `Truth` to measure by; `given` is True for pictures the user named."""
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
  """Prints what is to be known of the pictures; `run` has them, or is ''."""
  from cyclegan_jax.common import hosts
  from cyclegan_jax.config import identity
  from cyclegan_jax.hub import address

  if not hosts.writes():
    return
  for line in data.notes:
    print(f'note: {line}')
  if address.is_address(run):  # it has no listing of pictures
    return
  if change := run and identity.other_tests(run, data.source):
    print(f'note: the test pictures are not those of the run ({change})')


def _check_colours(data):
  if data.channels['b'] not in (1, 3):
    raise UserError(
      f'--palette: label maps are read from the colours of B, which has '
      f'{data.channels["b"]} channels (data.channels_b): leave it out'
    )


def coloured_labels(data, palette):
  """Label maps that B's test pictures show by their colours.

  Args:
    data: a `Dataset`.
    palette: a `metrics.labels.Palette`.

  Returns:
    A sequence of int64 [h, w], scaled and cropped as the test pictures are.
  """
  from cyclegan_jax.common.images import from_pixels
  from cyclegan_jax.data import decode
  from cyclegan_jax.metrics import labels as label_maps
  from cyclegan_jax.metrics import test_set

  def read(picture):
    # At the size it has: in between, two colours make a third.
    pixels = decode.load(picture, 3)
    labels = label_maps.labels_of_picture(from_pixels(pixels), palette)
    return label_maps.as_shown(labels, data.preprocess)

  return test_set.Lazy(read, data.source.test['b'])


def _metrics(tests, directions, values):
  from cyclegan_jax.metrics import registry
  from cyclegan_jax.metrics.base import Needs

  names = registry.names(values['metrics'])
  if not names and tests.paired:
    names = ['l1', 'psnr', 'ssim']
  if not names:
    raise UserError(
      'no --metrics: the test pictures are no pairs, so give those of sets, '
      'such as --metrics=kd_vgg'
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
