"""Converts weights from and to the official PyTorch code, without PyTorch:

    python -m cyclegan_jax.torch_weights import FILES... --output=FOLDER
    python -m cyclegan_jax.torch_weights export --model=PATH --output=FOLDER

`import` reads official .pth files, such as latest_net_{G_A,G_B,D_A,D_B}.pth or
latest_net_{G,D}.pth, or a folder of them. It recognises the networks and writes
a model folder for --model of the other programs. net_F, the projection heads of
CUT, is skipped. `export` writes a model as official .pth files. Examples:

    python -m cyclegan_jax.torch_weights import latest_net_*.pth \\
      --output=models/maps
    python -m cyclegan_jax.torch_weights import horse2zebra.pth \\
      --output=models/horse2zebra
    python -m cyclegan_jax.torch_weights export --model=runs/maps \\
      --output=checkpoints/maps

The official direction AtoB is a2b here; the official D_A judges pictures of B.
Exit codes: 0: done. 2: invalid input; a one-line message says why.
"""

import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import flags, program

FLAGS = {
  'output': ('FOLDER', '', 'folder to write'),
  'model': (
    'PATH',
    '',
    'export: run folder, model folder, .pth file, or hf://USER/NAME',
  ),
  'step': (
    'N',
    -1,
    'step of a checkpoint of the run, or epoch of a folder of official files; '
    'by default the newest',
  ),
  'epoch': (
    'NAME',
    'latest',
    'export: beginning of the file names, as in latest_net_G_A.pth',
  ),
}

# Endings of files. An --output with one of them is not taken for a folder.
_FILES = ('.pth', '.pt', '.msgpack', '.safetensors')
# Running averages of batch norm, which are not trained parameters.
_AVERAGES = ('mean', 'var', 'count')


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if not rest:
    raise UserError('nothing to do: give import or export (see --help)')
  run = lookup(COMMANDS, rest[0], 'what to do')
  flags.require(values, 'output')
  program.quiet()
  run(rest[1:], values)


def import_files(paths, values):
  """Converts official files to a model folder: the command `import`.

  Args:
    paths: official .pth files, or folders of them.
    values: {flag: value}.

  Raises:
    UserError: an invalid flag, files that cannot be read or do not belong
      together, or an --output that holds other files.
  """
  from cyclegan_jax import pth
  from cyclegan_jax.defaults import get_config
  from cyclegan_jax.inference import saved

  if not paths:
    raise UserError('no files: give the .pth files to import (see --help)')
  if values['model']:
    raise UserError(
      '--model is a flag of export only: give import just the .pth files'
    )
  folder = files.place(values['output'])
  _check_is_folder(folder)
  if not _is_free(folder):
    raise UserError(f'{folder} (--output) holds other files: give a new folder')
  paths = _chosen(paths, values)
  found = pth.networks(paths)
  options, params = pth.combine(found)
  config = get_config()
  for section, chosen in options.items():
    config[section].update(chosen)
  for place, (path, network) in found.items():
    print(f'{path}: {_describe(place, network)}')
  for path in filter(pth.has_heads, paths):
    print(f'{path}: skipped: projection heads, needed only for training')
  saved.save(folder, config, params)
  print(f'the model is in {folder}')


def export_files(rest, values):
  """Writes a model as official .pth files: the command `export`.

  Args:
    rest: words of the command line that are not flags; must be empty.
    values: {flag: value}.

  Raises:
    UserError: an invalid flag, a model that the official code does not have, or
      files that already exist.
  """
  from cyclegan_jax import pth
  from cyclegan_jax.inference import saved

  if rest:
    raise UserError(f'{rest[0]!r} is not a flag: give --model=PATH')
  flags.require(values, 'model', 'epoch')
  step = None if values['step'] < 0 else values['step']
  trained = saved.load(values['model'], step)
  folder = files.place(values['output'])
  _check_is_folder(folder)
  one_way = trained.method.directions == ('a2b',)
  contents = pth.states(
    trained.config.to_dict(), trained.params, one_way=one_way
  )
  states = {
    folder / f'{values["epoch"]}_net_{name}.pth': state
    for name, state in contents.items()
  }
  if there := [path for path in states if path.exists()]:
    raise UserError(f'{there[0]} exists: give another --output or --epoch')
  for path, state in states.items():
    pth.write(path, state)
    print(path)
  if _averages_missing(pth, trained):
    print(
      f'warning: {values["model"]} has no running averages of batch norm, so '
      "the files have PyTorch's initial values: run test.py without --eval",
      file=sys.stderr,
    )


def _chosen(paths, values):
  """Returns the files to import, with folders replaced by their files.

  Raises:
    UserError: --epoch is given, or a folder has no files of --step.
  """
  from cyclegan_jax import pth

  if values['epoch'] != FLAGS['epoch'][1]:
    raise UserError(
      f'--epoch={values["epoch"]} is a flag of export only: use --step=N to '
      'import an epoch of a folder'
    )
  step = None if values['step'] < 0 else values['step']
  chosen = []
  for path in paths:
    found, line = pth.expand(path, step)
    chosen += found
    if line:
      print(line)
  return chosen


def _check_is_folder(path):
  """Raises `UserError` if --output looks like the name of a file."""
  if path.suffix in _FILES and not path.is_dir():
    raise UserError(
      f'{path} (--output) must be a folder, as several files are written: '
      f'leave out {path.suffix}'
    )


def _is_free(folder):
  """Returns True if a folder is new, empty, or an old model folder."""
  from cyclegan_jax.inference import saved

  if not folder.exists():
    return True
  if not folder.is_dir():
    return False
  with files.writing(folder):
    names = {path.name for path in folder.iterdir()}
  return names <= set(saved.FILES)


def _describe(place, network):
  """Returns a line on an imported network: kind, options, size.

  Args:
    place: (group, name) of the network in the model.
    network: the network, from `pth.networks`.
  """
  options, (_, which) = network.options, place
  depth = f' of {options["depth"]}' if options['depth'] else ''
  facts = (
    f'{network.kind} {which}',
    f'{options["name"]}{depth}',
    f'width {options["width"]}',
    f'norm {options["norm"]}',
    f'{network.in_channels} to {network.out_channels} channels',
    f'{_size(network.params):,} parameters',
  )
  return ', '.join(facts)


def _size(params):
  """Returns the number of trained parameters in nested dicts of arrays."""
  if not isinstance(params, dict):
    return params.size
  return sum(_size(x) for name, x in params.items() if name not in _AVERAGES)


def _averages_missing(pth, trained):
  """Returns True if a network has batch norm but no running averages."""
  sections = {
    'gen': trained.config.generator,
    'disc': trained.config.discriminator,
  }
  return any(
    section.norm.startswith('batch')
    and trained.params[group]
    and not pth.has_averages(trained.params[group])
    for group, section in sections.items()
  )


COMMANDS = {'import': import_files, 'export': export_files}

if __name__ == '__main__':
  sys.exit(program.run(main))
