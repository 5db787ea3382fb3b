"""Checks every picture of a dataset before a run uses it:

    python -m cyclegan_jax.check_data --config=configs/NAME.py

Decodes all pictures and reports the ones that cannot be used, their sizes,
duplicates, and files that are converted, used only in part, or ignored. A full
report, report.json, and one contact sheet per domain are written to --output.
Exit codes: 0: every picture can be used. 2: some pictures cannot be used, or
invalid input; a one-line message says why.
"""

import json
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

FLAGS = {
  'output': ('DIR', '', 'folder for the report; by default data_check/CARD')
}


def main(argv):
  config, values = flags.parse_flags(argv, __doc__, FLAGS)
  default = f'data_check/{flags.config_path(argv).stem}'
  folder = files.place(values['output'] or default)
  program.quiet()
  from cyclegan_jax.config.run import build_data, check_values
  from cyclegan_jax.data import inspect

  check_values(config)
  dataset = build_data(config)
  seen = inspect.scan(dataset)
  facts = inspect.report(dataset, seen)
  print(inspect.text(facts))
  for note in dataset.notes:
    print(f'\n{note}')
  sheets = {
    d: inspect.contact_sheet(
      seen[f'train{d.upper()}'], dataset.values_of(d), dataset.show[d]
    )
    for d in ('a', 'b')
  }
  write(folder, facts, sheets)
  print(f'\nreport.json and contact sheets are in {folder}')
  conclude(facts, dataset.preprocess)


def write(folder, facts, sheets):
  """Writes report.json, contact_a.png and contact_b.png.

  Args:
    folder: folder of the three files; created if missing.
    facts: the result of `data.inspect.report`, the facts about all pictures.
    sheets: {'a', 'b'}: contact sheets, uint8 [h, w, 3]. For None no file is
      written, and an old one is removed.

  Raises:
    UserError: the folder cannot be written.
  """
  from cyclegan_jax.common import images

  with files.writing(folder, '--output'):
    files.make(folder)
    files.write(folder / 'report.json', json.dumps(facts, indent=2) + '\n')
    for domain, sheet in sheets.items():
      path = folder / f'contact_{domain}.png'
      path.unlink(missing_ok=True)
      if sheet is not None:
        files.write(path, images.png(sheet))


def conclude(facts, prepare):
  """Raises `UserError` if a run cannot use every picture.

  Args:
    facts: the result of `data.inspect.report`, the facts about all pictures.
    prepare: the `data.preprocess.Preprocess` of the config: scaling, crop and
      flip.
  """
  bad = len(facts['unusable'])
  if bad:
    splits = facts['splits']
    empty = [name for name, x in splits.items() if not x['usable']]
    hint = 'or train without them by --config.data.on_bad_image=skip'
    if empty:
      hint = f'and add usable ones to {", ".join(empty)}'
    count = sum(x['pictures'] for x in splits.values())
    raise UserError(
      f'{bad} of {count} pictures cannot be used: remove them, {hint}'
    )
  for split, sizes in facts['mixed_sizes'].items():
    raise UserError(
      f'{split} has pictures of {sizes} sizes, but data.preprocess='
      f'{prepare.mode} does not crop them to one size: use '
      f'{prepare.advice(_shortest_side(facts))}'
    )


def _shortest_side(facts):
  """Returns the shortest side of all training pictures, in pixels."""
  splits = [facts['splits'][name] for name in ('trainA', 'trainB')]
  return min(int(n) for x in splits for s in x['sizes'] for n in s.split('x'))


if __name__ == '__main__':
  sys.exit(program.run(main))
