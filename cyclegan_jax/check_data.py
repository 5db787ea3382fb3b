"""Looks at every picture of a data set before a run does:

    python -m cyclegan_jax.check_data --config=configs/NAME.py

Decodes all of them and reports what cannot be used, sizes, duplicates, files
that are converted, used only in part, or ignored; a full report and a contact
sheet a domain are in --output.
Exit codes: 0 every picture can be used, 2 some cannot, or something given
doesn't fit.
"""

import json
import sys

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import flags, program

FLAGS = {'output': ('DIR', '', 'folder it writes; data_check/<config name>')}


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
  """Writes report.json and contact_a.png, contact_b.png.

  Args:
    folder: where to; made if missing.
    facts: a `inspect.report`.
    sheets: {'a', 'b'}: uint8 [h, w, 3], or None for none.

  Raises:
    UserError: it can't be written.
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
  """Raises `UserError` if a run could not use every picture.

  Args:
    facts: a `inspect.report`.
    prepare: the `Preprocess` of the run.
  """
  bad = len(facts['unusable'])
  if bad:
    splits = facts['splits']
    empty = [name for name, x in splits.items() if not x['usable']]
    hint = 'or train without them: --config.data.on_bad_image=skip'
    if empty:
      hint = f'and add others to {", ".join(empty)}'
    count = sum(x['pictures'] for x in splits.values())
    raise UserError(
      f'{bad} of {count} pictures cannot be used: remove them, {hint}'
    )
  for split, sizes in facts['mixed_sizes'].items():
    raise UserError(
      f'{split} has pictures of {sizes} sizes, and data.preprocess='
      f'{prepare.mode} does not crop to one size: use '
      f'{prepare.advice(_shortest_side(facts))}'
    )


def _shortest_side(facts):
  """Pixels of the shortest side of all training pictures."""
  splits = [facts['splits'][name] for name in ('trainA', 'trainB')]
  return min(int(n) for x in splits for s in x['sizes'] for n in s.split('x'))


if __name__ == '__main__':
  sys.exit(program.run(main))
