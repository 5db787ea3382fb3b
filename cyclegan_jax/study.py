"""Asks people which pictures are real, as the paper does (Sec. 5.1.1):

    python -m cyclegan_jax.study make --models=NAME=PATH,... --output=PAGE
    python -m cyclegan_jax.study score ANSWERS... [--output=FILE]

make writes a page, one HTML file, that shows pairs of a real test picture and
one that a model made, each for a second. It works offline, also on a phone, and
saves the answers of a person as answers_PARTICIPANT.json. score takes such
files, or folders of them, and prints the share of trials in which people were
fooled. The pictures are those of --config, or of the config of the first model,
changed by --config.data.KEY=VALUE. Examples:

    python -m cyclegan_jax.study make --output=study.html \\
      --models=cyclegan=runs/maps,cut=runs/maps_cut --direction=b2a
    python -m cyclegan_jax.study score answers --output=score.json

Exit codes: 0 done, 2 invalid input; a one-line message says why.
"""

import json
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import changes as config_changes
from cyclegan_jax.config import flags, program

# Those of both commands, and those of make alone.
_OF_SCORE = {
  'seed': ('N', 0, 'decides the pairs of pictures; of score, the resamples'),
  'output': ('FILE', '', 'page that make writes, JSON file that score writes'),
}
FLAGS = {
  'models': (
    'NAMES',
    '',
    'make: the algorithms, each NAME=PATH, with commas; a path is a run, a '
    'folder of weights or a .pth file',
  ),
  'direction': (
    'a2b|b2a',
    '',
    'make: where to; may be left out where there is one',
  ),
  'protocol': (
    'NAME',
    'cyclegan',
    'cyclegan | pix2pix: people say which picture is real, or which is fake',
  ),
  'practice': ('N', 10, 'make: trials with feedback, which do not count'),
  'trials': ('N', 40, 'make: trials that count'),
  'pictures': (
    'N',
    100,
    'make: test pictures of each kind, spread evenly, that the pairs of a '
    'person are drawn from; 0: all',
  ),
  'size': ('N', 256, 'make: longest side of a shown picture, in CSS pixels'),
  'same-place': (
    '',
    False,
    'make: shows a fake picture with the true one of the same place; needs '
    'true test pairs',
  ),
  'on-training-pictures': (
    '',
    False,
    'make: takes training pictures where there are no test pictures',
  ),
  **_OF_SCORE,
}


def main(argv):
  given = argv[1:2]
  if given and not given[0].startswith('-'):
    return lookup(COMMANDS, given[0], 'what to do')([argv[0], *argv[2:]])
  _parse(argv)  # --help, and flags that cannot be
  raise UserError('nothing to do: give make or score (see --help)')


def make(argv):
  """Writes the page of a study.

  Raises:
    UserError: flags, models or pictures that don't fit, or a page that can't
      be written.
  """
  config, changes, values = _parse(argv)
  flags.require(values, 'models', 'output')
  from cyclegan_jax.perceptual_study import design

  plan = design.Design(
    **{x: values[x.replace('_', '-')] for x in design.Design._fields}
  )
  plan.check()
  if values['pictures'] < 0:
    raise UserError(f'--pictures={values["pictures"]} must be at least 0')
  paths = design.algorithms(values['models'])
  program.quiet()
  from cyclegan_jax.inference import saved
  from cyclegan_jax.perceptual_study import make as page

  models = {name: saved.load(path) for name, path in paths.items()}
  direction = _direction(models, values['direction'])
  first = next(iter(models))
  _check_values(models, direction, first)
  if config is None:
    config = config_changes.changed(models[first].config, changes, paths[first])
  data = _data(config, models[first], values['on-training-pictures'])
  _say_notes(data, paths)
  content, note = page.content(
    models, data, direction, plan, values['pictures']
  )
  if note:
    print(f'note: {note}')
  path = files.place(values['output'])
  size = page.write(path, content)
  print(f'study {content["id"]}: {path} ({size / 1e6:.1f} MB)')


def score(argv):
  """Prints the figures of answers, and writes them as JSON.

  Raises:
    UserError: files that can't be read or don't belong together.
  """
  names, values = flags.parse_plain(argv, __doc__, _OF_SCORE)
  if not names:
    raise UserError('no answers: give files or folders of them (see --help)')
  if values['seed'] < 0:
    raise UserError(f'--seed={values["seed"]} must be at least 0')
  program.quiet()
  from cyclegan_jax.perceptual_study import answers
  from cyclegan_jax.perceptual_study import score as scoring

  sessions = [answers.read(path) for path in answers.find(names)]
  found = scoring.scores(*answers.chosen(sessions), values['seed'])
  print(scoring.text(found), end='')
  if values['output']:
    path = files.place(values['output'])
    with files.writing(path, '--output'):
      files.write(path, json.dumps(found, indent=2) + '\n')
    print(f'written to {path}')


def _parse(argv):
  """The config, or None if none is given; {option: value}; {flag: value}."""
  words = {word.lstrip('-').partition('=')[0] for word in argv}
  if words & {'config', 'help', 'h', 'helpfull'}:
    config, values = flags.parse_flags(argv, __doc__, FLAGS)
    return config, {}, values
  changes, values = flags.parse_changes(argv, FLAGS, config_changes.CHANGEABLE)
  config_changes.check(changes, FLAGS)
  return None, changes, values


def _direction(models, given):
  """The direction that all models are asked for."""
  there = {name: model.directions for name, model in models.items()}
  shared = set.intersection(*map(set, there.values()))
  if not given and len(shared) == 1:
    return shared.pop()
  if given in shared:
    return given
  known = '; '.join(
    f'{name} translates {" and ".join(x) or "nothing"}'
    for name, x in there.items()
  )
  raise UserError(f'--direction={given!r}: {known}')


def _check_values(models, direction, first):
  """Raises `UserError` for models of other channels than the first one's."""
  data = models[first].config.data
  for name, model in models.items():
    for domain in direction.split('2'):
      for key in (f'channels_{domain}', f'range_{domain}'):
        if model.config.data[key] != data[key]:
          raise UserError(
            f'--models: {name} has data.{key}={model.config.data[key]}, and '
            f'{first} {data[key]}: compare models of the same kind of pictures'
          )


def _data(config, model, on_training_pictures):
  """The `Dataset` of the test pictures."""
  from cyclegan_jax.config.run import build_data, check_values
  from cyclegan_jax.metrics import test_set

  check_values(config)
  data = build_data(config_changes.with_values(config, model.config))
  option = '--on-training-pictures'
  asked = on_training_pictures or config.evaluate.on_training_pictures
  test_set.check_asked(data.source, asked, option)
  return data.checked() if data.skips else data


def _say_notes(data, paths):
  """Prints what is to be known of the pictures, and of runs on others."""
  from cyclegan_jax.config import identity

  for line in data.notes:
    print(f'note: {line}')
  for name, path in paths.items():
    change = '://' not in path and identity.other_tests(path, data.source)
    if change:
      print(f'note: the test pictures are not those of {name} ({change})')


COMMANDS = {'make': make, 'score': score}

if __name__ == '__main__':
  sys.exit(program.run(main))
