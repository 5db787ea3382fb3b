"""Tests of finding pictures in folders: links, leftovers, ignored files."""

import json
import os
import sys

import pytest
import tiny
from PIL import Image

from cyclegan_jax import check_data
from cyclegan_jax.common import files, walk
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.config import program
from cyclegan_jax.data import folders, formats, sources

needs_links = pytest.mark.skipif(sys.platform == 'win32', reason='no links')
# Files and folders that operating systems and programs leave among pictures.
LEFTOVERS = [
  '._IMG_0001.JPG',
  '.DS_Store',
  'Thumbs.db',
  'desktop.ini',
  '.ipynb_checkpoints/1-checkpoint.png',
  '@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg',
  '__MACOSX/._1.png',
  '__MACOSX/1.png',
  '$RECYCLE.BIN/S-1/1.png',
  '.Trash-1000/files/1.png',
  'lost+found/1.png',
  '.Spotlight-V100/1.png',
  'System Volume Information/1.png',
  'x/.@__thumb/1.jpg',
  '.nfs000001',
]


def put(folder, *names):
  for name in names:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = 'PNG' if path.suffix.lower() in formats.EXTENSIONS else None
    if kind:
      Image.new('RGB', (20, 20)).save(path, kind)
    else:
      path.write_bytes(b'x')
  return folder


def found(folder):
  """Returns the picture names of a folder and the line on ignored files."""
  search = folders.Search()
  pictures = search.pictures(folder)
  names = [p.data.relative_to(folder).as_posix() for p in pictures]
  return names, folders.summary(search.left_out)


def test_endings_are_found_in_upper_and_lower_case(tmp_path):
  names = [f'1{e}' for e in formats.EXTENSIONS]
  names += [f'2{e.upper()}' for e in formats.EXTENSIONS]
  assert set(found(put(tmp_path, *names))[0]) == set(names)


def test_common_endings_are_known():
  assert {
    *('.gif', '.ppm', '.pgm', '.pbm', '.pnm', '.jfif', '.jpe', '.avif'),
    *('.heic', '.heif'),
  } <= set(formats.EXTENSIONS)


def test_ignored_files_are_counted_by_ending(tmp_path):
  put(tmp_path, *(f'{i}.txt' for i in range(4)), 'a.TXT', 'README', 'b.psd')
  put(tmp_path, '1.png', 'sub/2.png', 'sub/notes.txt', '.hidden.jpg')
  names, line = found(tmp_path)
  assert names == ['1.png', 'sub/2.png']
  assert (
    line == 'ignored 9 files: 6 .txt, 1 .psd, 1 hidden, 1 without an ending'
  )


def test_many_endings_are_one_line(tmp_path):
  put(tmp_path, '1.png', *(f'a.{i:03}' for i in range(30)), 'a.x\ny')
  line = found(tmp_path)[1]
  assert line.startswith('ignored 31 files: 1 .000, ')
  assert line.endswith('23 others') and '\n' not in line


@pytest.mark.parametrize('name', LEFTOVERS)
def test_leftovers_are_not_pictures(name, tmp_path):
  put(tmp_path, '1.png', name)
  names, line = found(tmp_path)
  assert names == ['1.png']
  assert line.startswith('ignored 0 files')


def test_a_folder_named_like_a_leftover_may_be_the_dataset(tmp_path):
  """Only names below the given folder can be leftovers."""
  root = tmp_path / '.cache' / '@eaDir'
  assert found(put(root, '1.png'))[0] == ['1.png']


def test_heic_without_its_package_names_the_install_command(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(formats, '_heif_installed', lambda: False)
  put(tmp_path, '1.png', '2.heic', '3.HEIC', '4.txt')
  names, line = found(tmp_path)
  assert names == ['1.png']
  assert line.startswith('ignored 3 files: 2 .heic, 1 .txt')
  assert "pip install -e '.[heic]'" in line
  (tmp_path / '1.png').unlink()
  with pytest.raises(UserError, match=r'no pictures in .*ignored 3 files'):
    found(tmp_path)


def test_avif_without_support_names_the_install_command(tmp_path, monkeypatch):
  monkeypatch.setattr(formats, '_supported', lambda feature: feature != 'avif')
  names, line = found(put(tmp_path, '1.png', '2.avif', '3.webp'))
  assert names == ['1.png', '3.webp']
  assert '1 .avif' in line and 'pip install --upgrade pillow' in line


@needs_links
def test_links_to_folders_are_followed(tmp_path):
  put(tmp_path / 'disk', '1.png', 'deep/2.png')
  root = put(tmp_path / 'set', '0.png')
  (root / 'more').symlink_to(tmp_path / 'disk')
  (root / '3.png').symlink_to(tmp_path / 'disk' / '1.png')
  names, line = found(root)
  assert names == ['0.png', '3.png', 'more/1.png', 'more/deep/2.png']
  assert line.startswith('ignored 0')
  (tmp_path / 'link').symlink_to(root)
  assert found(tmp_path / 'link')[0] == names


@needs_links
def test_circular_links_end_and_repeat_nothing(tmp_path):
  root = put(tmp_path / 'set', '1.png', 'x/2.png', 'y/3.png')
  for link, target in (
    ('x/up', root),
    ('x/above', tmp_path),
    ('x/y', root / 'y'),
    ('y/x', root / 'x'),
    ('a', root / 'y'),  # sorted by name, it would come first
    ('self', root / 'self'),
  ):
    (root / link).symlink_to(target)
  names, line = found(root)
  assert names == ['1.png', 'x/2.png', 'y/3.png']
  assert '1 broken link' in line and '2 links to a folder' not in line
  assert 'link to a folder above' in line
  assert str(root / 'self') in line


@needs_links
def test_two_links_to_one_folder_are_read_once(tmp_path):
  put(tmp_path / 'disk', '1.png')
  root = put(tmp_path / 'set', '0.png')
  for name in ('b', 'a'):
    (root / name).symlink_to(tmp_path / 'disk')
  names, line = found(root)
  assert names == ['0.png', 'a/1.png']
  assert f'1 link to a folder read already ({root / "b"})' in line


@needs_links
def test_unreadable_files_and_folders_are_named(tmp_path, monkeypatch):
  root = put(tmp_path, '1.png', 'closed/2.png')
  (root / 'gone.png').symlink_to(root / 'nowhere')
  os.mkfifo(root / 'pipe.png')
  true_scandir = os.scandir

  def scandir(path):
    if str(path).endswith('closed'):
      raise PermissionError(13, 'Permission denied')
    return true_scandir(path)

  monkeypatch.setattr(os, 'scandir', scandir)
  names, line = found(root)
  assert names == ['1.png']
  for words in (
    'ignored 3 files',
    f'1 broken link ({root / "gone.png"})',
    f'1 special file ({root / "pipe.png"})',
    f'1 unreadable folder ({root / "closed"}: Permission denied)',
  ):
    assert words in line


def test_names_are_sorted_by_folder(tmp_path):
  """The order is that of older versions, so that runs keep their pictures."""
  names = ['a-b.png', 'a/1.png', 'a.png', 'B.png', 'a/b/2.png', 'a0.png']
  put(tmp_path, *names)
  expected = sorted(p for p in tmp_path.rglob('*') if p.is_file())
  assert files.below(tmp_path) == expected


def test_listing_a_folder_does_not_stat_each_file(tmp_path, monkeypatch):
  """With 100,000 files on a server, it would cost as many requests."""
  put(tmp_path, *(f'{i}.png' for i in range(30)))
  asked = []
  true_stat = os.stat
  monkeypatch.setattr(
    os, 'stat', lambda *a, **k: asked.append(a) or true_stat(*a, **k)
  )
  assert len(walk.walk(str(tmp_path))) == 30
  assert len(asked) < 10


def test_a_source_reports_ignored_files_of_all_folders_once(tmp_path):
  for name in ('trainA', 'trainB', 'testA', 'testB'):
    put(tmp_path / name, '1.png', 'notes.txt')
  source = sources.folder(tmp_path)
  lines = [x for x in source.notes if x.startswith('ignored')]
  assert lines == ['ignored 4 files: 4 .txt']
  assert len(source.left_out) == 4
  put(tmp_path / 'train', '1.png', 'list.csv')
  source = sources.aligned(tmp_path)
  lines = [x for x in source.notes if x.startswith('ignored')]
  assert lines == ['ignored 1 file: 1 .csv']


def test_check_data_lists_ignored_files(tmp_path, capsys):
  for name in ('trainA', 'trainB'):
    put(tmp_path / name, '1.png', 'notes.txt')
  argv = ['check_data', f'--output={tmp_path / "out"}']
  argv += [f'--config={tiny.CONFIGS / "folder.py"}']
  argv += ['--config.data.source=folder', f'--config.data.root={tmp_path}']
  assert program.run(check_data.main, argv) == 0
  assert 'ignored 2 files: 2 .txt' in capsys.readouterr().out.splitlines()
  report = json.loads((tmp_path / 'out' / 'report.json').read_text())
  listed = [str(tmp_path / x / 'notes.txt') for x in ('trainA', 'trainB')]
  assert report['ignored'] == {'.txt': listed}
