"""Every translation has a file of its own."""

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
    # A long name is the short one of another file.
    (
      ['1.jpg', '1.jpg.bmp', '1.png'],
      ['1.jpg.png', '1.jpg.bmp.png', '1.png.png'],
    ),
    # A folder has the name.
    (['a.jpg', 'a.png/1.jpg'], ['a.jpg.png', 'a.png/1.png']),
    # Only some file systems tell these apart: by case, by forms of Unicode.
    (['A.png', 'a.png'], ['A.png.png', 'a.png.2.png']),
    (['é.png', 'e\u0301.jpg'], ['é.png.png', 'e\u0301.jpg.png']),
    (['\u00e9.png', 'e\u0301.png'], ['\u00e9.png.png', 'e\u0301.png.2.png']),
  ],
)
def test_files_that_would_share_an_output_are_told_apart(files, wanted):
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
def test_no_reconstruction_is_a_translation(files):
  made = all_of(*files, both=True)
  assert len({str(x).lower() for x in made}) == 2 * len(files)
  folders = {str(folder).lower() for x in made for folder in x.parents}
  assert not folders & {str(x).lower() for x in made}
  # Without reconstructions there is nothing to tell apart.
  short = [str(pathlib.PurePath(x).with_suffix('.png')) for x in files]
  if len({x.lower() for x in short}) == len(short):
    assert outputs(*files) == short
