"""Shares a model on the Hugging Face Hub:

    python -m cyclegan_jax.share --model=runs/NAME --repo=USER/NAME

Uploads config.json, model.safetensors, a model card (README.md) and, of a run,
its newest sample grid, as one commit; a repository that exists is updated.
--dry-run uploads nothing, and with --output=FOLDER leaves the files there.
Paths of this machine are blanked in config.json. The token is that of `hf auth
login`, or HF_TOKEN. Others then use --model=hf://USER/NAME. Exit codes: 0 done,
2 invalid input, or the Hub refuses or can't be reached.
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
  'repo': ('NAME', '', 'the repository on the Hub, USER/NAME; made if missing'),
  'license': ('NAME', '', 'identifier of the Hub: mit, apache-2.0, other, ...'),
  'private': ('', False, 'makes a new repository private'),
  'generators-only': ('', False, 'leaves out the discriminators'),
  'no-samples': ('', False, 'leaves out samples.png, which has test pictures'),
  'dry-run': ('', False, 'uploads nothing, and prints what would be'),
  'output': ('FOLDER', '', 'with --dry-run: the folder to leave the files in'),
}


def main(argv):
  rest, values = flags.parse_plain(argv, __doc__, FLAGS)
  if rest:
    raise UserError(f'{rest[0]!r} is no flag: see --help')
  flags.require(values, 'model', 'repo')
  if values['output'] and not values['dry-run']:
    raise UserError('--output goes with --dry-run: add it, or leave it out')
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
      print('nothing is kept: add --output=FOLDER to look at the files')
      return
    _say(folder, wanted, hidden, 'uploading')
    _upload(folder, wanted.repo, values['private'])


def _upload(folder, repo, private):
  from cyclegan_jax.hub import client
  from cyclegan_jax.inference import sharing

  page, commit = client.upload(folder, repo, sharing.NAMES, private)
  print(f'shared at {page}')
  print(f'revision {commit}: --model=hf://{repo}@{commit}')


def _check_output(folder, model):
  """Refuses a folder of other files; this program's own are replaced."""
  from cyclegan_jax.config import paths
  from cyclegan_jax.inference import sharing

  if paths.same(str(folder), model):
    raise UserError(f'{folder} (--output) is the model itself: give another')
  if not folder.exists():
    return
  if not folder.is_dir():
    raise UserError(f'{folder} (--output) is a file: give a new folder')
  names = {path.name for path in folder.iterdir()}
  if names and (sharing.CARD not in names or names - set(sharing.NAMES)):
    raise UserError(f'{folder} (--output) holds other files: give a new folder')


def _say(folder, wanted, hidden, doing):
  """Prints the files, and what of the model is not in them."""
  print(f'{doing} to {wanted.repo}:')
  for path in sorted(folder.iterdir()):
    print(f'  {path.name:<18} {len(path.read_bytes()):>12,} bytes')
  if hidden:
    print(f'not shared, changed in config.json: {", ".join(hidden)}')
  if not wanted.license:
    print(
      'note: without --license=NAME others may not use the model, and the card '
      'says that they have to ask'
    )


if __name__ == '__main__':
  sys.exit(program.run(main))
