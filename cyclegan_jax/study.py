"""Runs the paper's perceptual study, which asks people which picture is real:

    python -m cyclegan_jax.study make --models=NAME=PATH,... --output=PAGE
    python -m cyclegan_jax.study score ANSWERS... [--output=FILE]

See Sec. 5.1.1 of the paper. `make` writes a page, one HTML file, that shows
pairs of a real test picture and a translation, each for one second. The page
works offline, also on a phone, and saves the answers of a person as
answers_PARTICIPANT.json. `score` reads these files, or folders of them, and
prints the share of trials in which people were fooled. The pictures are those
of --config, or of the config of the first model, changed by
--config.data.KEY=VALUE. Examples:

    python -m cyclegan_jax.study make --output=study.html \\
      --models=cyclegan=runs/maps,cut=runs/maps_cut --direction=b2a
    python -m cyclegan_jax.study score answers --output=score.json

Exit codes: 0: done. 2: invalid input; a one-line message says why.
"""

import json
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import changes as config_changes
from cyclegan_jax.config import flags, program

# Flags of both commands. FLAGS adds those of make.
_OF_SCORE = {
  'seed': (
    'N',
    0,
    'random seed; make: of the pairs of pictures, score: of the bootstrap',
  ),
  'output': (
    'FILE',
    '',
    'file to write; make: the HTML page, score: the scores as JSON',
  ),
}
FLAGS = {
  'models': (
    'NAMES',
    '',
    'make: the algorithms to compare, each NAME=PATH, separated by commas; '
    'PATH is a run folder, a model folder or a .pth file',
  ),
  'direction': (
    'a2b|b2a',
    '',
    'make: direction of the translation; may be left out if the models have '
    'only one in common',
  ),
  'protocol': (
    'NAME',
    'cyclegan',
    'cyclegan | pix2pix: people are asked for the real picture, or for the '
    'fake one (make)',
  ),
  'practice': (
    'N',
    10,
    'make: practice trials with feedback, which do not count; paper: 10',
  ),
  'trials': ('N', 40, 'make: trials that count; paper: 40'),
  'pictures': (
    'N',
    100,
    'make: number of real pictures, and of translations per model, in the '
    'page, spread evenly over the test set; pairs are drawn from them at '
    'random; 0: all',
  ),
  'size': (
    'N',
    256,
    'make: longest side of a shown picture, in CSS pixels; paper: 256',
  ),
  'same-place': (
    '',
    False,
    'make: pair a translation with the true picture of the same place; needs '
    'true test pairs; paper: different places',
  ),
  'on-training-pictures': (
    '',
    False,
    'make: use training pictures if the dataset has no test pictures',
  ),
  **_OF_SCORE,
}


def main(argv):
  given = argv[1:2]
  if given and not given[0].startswith('-'):
    return lookup(COMMANDS, given[0], 'what to do')([argv[0], *argv[2:]])
  _parse(argv)  # answers --help and refuses unknown flags
  raise UserError('nothing to do: give make or score (see --help)')


def make(argv):
  """Writes the HTML page of a study: the command `make`.

  Args:
    argv: the command line without the word `make`, program first.

  Raises:
    UserError: an invalid flag, models or pictures that do not fit each other,
      or a page that cannot be written.
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
  """Prints the scores of people's answers, and writes JSON: command `score`.

  Args:
    argv: the command line without the word `score`, program first.

  Raises:
    UserError: an invalid flag, or answers that cannot be read or belong to
      different studies.
  """
  names, values = flags.parse_plain(argv, __doc__, _OF_SCORE)
  if not names:
    raise UserError(
      'no answers: give answer files, or folders of them (see --help)'
    )
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
  """Reads the command line of `make`.

  Returns:
    The config, or None without --config; {option: value} of the changes to the
    config of the first model, {} with --config; and {flag: value}.
  """
  words = {word.lstrip('-').partition('=')[0] for word in argv}
  if words & {'config', 'help', 'h', 'helpfull'}:
    config, values = flags.parse_flags(argv, __doc__, FLAGS)
    return config, {}, values
  changes, values = flags.parse_changes(argv, FLAGS, config_changes.CHANGEABLE)
  config_changes.check(changes, FLAGS)
  return None, changes, values


def _direction(models, given):
  """Returns the direction to show: --direction, or the only common one.

  Args:
    models: {name: model}.
    given: the value of --direction.
  """
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
  """Raises `UserError` if channels or ranges differ from the first model's.

  Args:
    models: {name: model}.
    direction: the direction, whose two domains are compared.
    first: name of the first model.
  """
  data = models[first].config.data
  for name, model in models.items():
    for domain in direction.split('2'):
      for key in (f'channels_{domain}', f'range_{domain}'):
        if model.config.data[key] != data[key]:
          raise UserError(
            f'--models: {name} has data.{key}={model.config.data[key]}, but '
            f'{first} has {data[key]}: give models of the same kind of pictures'
          )


def _data(config, model, on_training_pictures):
  """Returns the `Dataset` of the test pictures.

  Args:
    config: a ConfigDict that says which pictures to use.
    model: the first model, whose channels and ranges are used.
    on_training_pictures: True if training pictures may replace test pictures.
  """
  from cyclegan_jax.config.run import build_data, check_values
  from cyclegan_jax.metrics import test_set

  check_values(config)
  data = build_data(config_changes.with_values(config, model.config))
  option = '--on-training-pictures'
  asked = on_training_pictures or config.evaluate.on_training_pictures
  test_set.check_asked(data.source, asked, option)
  return data.checked() if data.skips else data


def _say_notes(data, paths):
  """Prints notes on the pictures, and on runs that had other test pictures.

  Args:
    data: the `Dataset` of the study.
    paths: {name: path} of the models.
  """
  from cyclegan_jax.config import identity

  for line in data.notes:
    print(f'note: {line}')
  for name, path in paths.items():
    change = '://' not in path and identity.other_tests(path, data.source)
    if change:
      print(f'note: the test pictures differ from those of {name} ({change})')


COMMANDS = {'make': make, 'score': score}

if __name__ == '__main__':
  sys.exit(program.run(main))
