"""Shares a model on the Hugging Face Hub:

    python -m cyclegan_jax.share --model=runs/NAME --repo=USER/NAME

Uploads config.json, model.safetensors, a model card (README.md) and, for a run,
its newest sample grid, as one commit. An existing repository is updated.
--dry-run uploads nothing; with --output=FOLDER it writes the files to FOLDER.
Local paths are removed from config.json. The token comes from `hf auth login`
or from the environment variable HF_TOKEN. Other people can then use
--model=hf://USER/NAME. Exit codes: 0: done. 2: invalid input, or the Hub
refuses the upload or cannot be reached; a one-line message says why.
"""

import pathlib
import sys
import tempfile

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

FLAGS = {
  'model': flags.MODEL_FLAGS['model'],
  'step': flags.MODEL_FLAGS['step'],
  'repo': (
    'NAME',
    '',
    'repository on the Hub, USER/NAME; created if it does not exist',
  ),
  'license': (
    'NAME',
    '',
    "license of the model, an identifier of the Hub's list: mit, apache-2.0, "
    'other, ...',
  ),
  'private': ('', False, 'make a new repository private'),
  'generators-only': ('', False, 'do not upload the discriminators'),
  'no-samples': (
    '',
    False,
    'do not upload samples.png, which shows test pictures',
  ),
  'dry-run': ('', False, 'upload nothing, only print what would be uploaded'),
  'output': ('FOLDER', '', 'with --dry-run: folder to write the files to'),
}


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is not a flag: see --help')
  flags.require(values, 'model', 'repo')
  if values['output'] and not values['dry-run']:
    raise UserError(
      '--output needs --dry-run: add --dry-run, or leave out --output'
    )
  program.quiet()
  from cyclegan_jax.inference import saved, sharing

  wanted = sharing.Wanted(
    repo=values['repo'],
    license=values['license'],
    generators_only=values['generators-only'],
    samples=not values['no-samples'],
  )
  sharing.check(wanted)
  step = None if values['step'] < 0 else values['step']
  if values['output']:
    folder = files.place(values['output'])
    _check_output(folder, values['model'])
    hidden = sharing.write(folder, saved.load(values['model'], step), wanted)
    _say(folder, wanted, hidden, 'would upload')
    print(f'the files are in {folder}')
    return
  with tempfile.TemporaryDirectory() as scratch:
    folder = pathlib.Path(scratch)
    hidden = sharing.write(folder, saved.load(values['model'], step), wanted)
    if values['dry-run']:
      _say(folder, wanted, hidden, 'would upload')
      print('no files were written: add --output=FOLDER to look at them')
      return
    _say(folder, wanted, hidden, 'uploading')
    _upload(folder, wanted.repo, values['private'])


def _upload(folder, repo, private):
  """Uploads the files of a folder and prints the address of the model."""
  from cyclegan_jax.hub import client
  from cyclegan_jax.inference import sharing

  page, commit = client.upload(folder, repo, sharing.NAMES, private)
  print(f'shared at {page}')
  print(f'revision {commit}: --model=hf://{repo}@{commit}')


def _check_output(folder, model):
  """Raises `UserError` for a folder with files of other programs.

  Files that this program wrote earlier may be replaced.

  Args:
    folder: the value of --output.
    model: the value of --model.
  """
  from cyclegan_jax.config import paths
  from cyclegan_jax.inference import sharing

  if paths.same(str(folder), model):
    raise UserError(
      f'{folder} (--output) is the model itself: give another folder'
    )
  if not folder.exists():
    return
  if not folder.is_dir():
    raise UserError(f'{folder} (--output) is a file: give a new folder')
  names = {path.name for path in folder.iterdir()}
  if names and (sharing.CARD not in names or names - set(sharing.NAMES)):
    raise UserError(f'{folder} (--output) holds other files: give a new folder')


def _say(folder, wanted, hidden, doing):
  """Prints the files to upload, and the options that are not shared.

  Args:
    folder: the folder of the files.
    wanted: a `sharing.Wanted`.
    hidden: options that were changed in config.json.
    doing: first words of the output, such as 'uploading'.
  """
  print(f'{doing} to {wanted.repo}:')
  for path in sorted(folder.iterdir()):
    print(f'  {path.name:<18} {len(path.read_bytes()):>12,} bytes')
  if hidden:
    print(f'not shared, blanked in config.json: {", ".join(hidden)}')
  if not wanted.license:
    print(
      'note: without --license=NAME other people may not use the model; the '
      'model card tells them to ask you'
    )


if __name__ == '__main__':
  sys.exit(program.run(main))
