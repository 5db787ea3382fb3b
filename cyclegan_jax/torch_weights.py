"""Weights of the official PyTorch code, to here and back; needs no PyTorch:

    python -m cyclegan_jax.torch_weights import FILES... --output=FOLDER
    python -m cyclegan_jax.torch_weights export --model=PATH --output=FOLDER

import reads any of latest_net_{G_A,G_B,D_A,D_B}.pth, or net_G and net_D, or a
folder of such, finds out what networks they hold, and writes a model for
--model of the other programs. It skips net_F, the projection heads of CUT.
export writes such files. Examples:

    python -m cyclegan_jax.torch_weights import latest_net_*.pth \\
      --output=models/maps
    python -m cyclegan_jax.torch_weights import horse2zebra.pth \\
      --output=models/horse2zebra
    python -m cyclegan_jax.torch_weights export --model=runs/maps \\
      --output=checkpoints/maps

The official direction AtoB is a2b here; the official D_A judges pictures of B.
Exit codes: 0 done, 2 something given doesn't fit, said in one line.
"""

import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.config import flags, program

FLAGS = {
  'output': ('FOLDER', '', 'folder it writes'),
  'model': (
    'PATH',
    '',
    'export: run, folder of weights, .pth file, or hf://USER/NAME',
  ),
  'step': (
    'N',
    -1,
    'checkpoint of a run, or epoch of a folder of official files; -1: the '
    'newest',
  ),
  'epoch': ('NAME', 'latest', 'export: what the names of the files begin with'),
}

# Endings of what is no folder.
_FILES = ('.pth', '.pt', '.msgpack', '.safetensors')
# Kept with batch norm, and not trained.
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
  """Writes a model folder of official files.

  Raises:
    UserError: files or flags that don't fit, or an output with other files.
  """
  from cyclegan_jax import pth
  from cyclegan_jax.defaults import get_config
  from cyclegan_jax.inference import saved

  if not paths:
    raise UserError('no files: give the .pth files to import (see --help)')
  if values['model']:
    raise UserError('--model goes with export: give the .pth files alone')
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
    print(f'{path}: skipped: projection heads, which training alone needs')
  saved.save(folder, config, params)
  print(f'the model is in {folder}')


def export_files(rest, values):
  """Writes official files of a model.

  Raises:
    UserError: a model or flags that don't fit, or files that are there.
  """
  from cyclegan_jax import pth
  from cyclegan_jax.inference import saved

  if rest:
    raise UserError(f'{rest[0]!r} is no flag: give --model=PATH')
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
      f'warning: {values["model"]} has no running averages of batch norm, and '
      "the files PyTorch's initial ones: run test.py without --eval",
      file=sys.stderr,
    )


def _chosen(paths, values):
  """The files to import, those of a folder's epoch among them."""
  from cyclegan_jax import pth

  if values['epoch'] != FLAGS['epoch'][1]:
    raise UserError(
      f'--epoch={values["epoch"]} goes with export: --step=N takes an epoch of '
      'a folder'
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
  if path.suffix in _FILES and not path.is_dir():
    raise UserError(
      f'{path} (--output) is to be a folder, which holds several files: leave '
      f'out {path.suffix}'
    )


def _is_free(folder):
  """Returns True for a new or empty folder, or a model to be replaced."""
  from cyclegan_jax.inference import saved

  if not folder.exists():
    return True
  if not folder.is_dir():
    return False
  with files.writing(folder):
    names = {path.name for path in folder.iterdir()}
  return names <= set(saved.FILES)


def _describe(place, network):
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
  """Parameters that are trained."""
  if not isinstance(params, dict):
    return params.size
  return sum(_size(x) for name, x in params.items() if name not in _AVERAGES)


def _averages_missing(pth, trained):
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
