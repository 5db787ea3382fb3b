"""Tests that every translation gets its own file."""

import pathlib

import pytest

from cyclegan_jax.inference import names


def outputs(*files, both=False, ending='png'):
  made = names.outputs(
    [pathlib.PurePath(x) for x in files], [ending] * len(files), both
  )
  return [str(x) for x in made]


def all_of(*files, **options):
  made = [pathlib.PurePath(x) for x in outputs(*files, **options)]
  return made + [names.back(x) for x in made] if options.get('both') else made


def test_names_and_folders_are_kept():
  files = 'b.jpg', 'x/a.png', 'x/b.c.jpg'
  assert outputs(*files) == ['b.png', 'x/a.png', 'x/b.c.png']
  assert outputs(*files, both=True) == ['b.png', 'x/a.png', 'x/b.c.png']


@pytest.mark.parametrize(
  'files,wanted',
  [
    (['1.jpg', '1.png'], ['1.jpg.png', '1.png.png']),
    (['1.JPG', '1.png'], ['1.JPG.png', '1.png.png']),
    # The long output name of one file is the short output name of another.
    (
      ['1.jpg', '1.jpg.bmp', '1.png'],
      ['1.jpg.png', '1.jpg.bmp.png', '1.png.png'],
    ),
    # The output name is the name of a folder.
    (['a.jpg', 'a.png/1.jpg'], ['a.jpg.png', 'a.png/1.png']),
    # Some file systems ignore case, or differences of Unicode forms.
    (['A.png', 'a.png'], ['A.png.png', 'a.png.2.png']),
    (['é.png', 'e\u0301.jpg'], ['é.png.png', 'e\u0301.jpg.png']),
    (['\u00e9.png', 'e\u0301.png'], ['\u00e9.png.png', 'e\u0301.png.2.png']),
  ],
)
def test_inputs_with_equal_output_names_get_distinct_names(files, wanted):
  assert outputs(*files) == wanted


@pytest.mark.parametrize(
  'files',
  [
    ['a.png', 'a.reconstructed.png'],
    ['a.png', 'A.Reconstructed.JPG'],
    ['a.png', 'a.reconstructed.png', 'a.reconstructed.reconstructed.png'],
    ['a.png', 'a.jpg', 'a.jpg.reconstructed.png', 'a.png.reconstructed.jpg'],
    ['a.png', 'a.reconstructed.png/b.png'],
  ],
)
def test_reconstructions_and_translations_have_distinct_names(files):
  made = all_of(*files, both=True)
  assert len({str(x).lower() for x in made}) == 2 * len(files)
  folders = {str(folder).lower() for x in made for folder in x.parents}
  assert not folders & {str(x).lower() for x in made}
  # Without reconstructions, short names are used where possible.
  short = [str(pathlib.PurePath(x).with_suffix('.png')) for x in files]
  if len({x.lower() for x in short}) == len(short):
    assert outputs(*files) == short
