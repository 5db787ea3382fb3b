"""Tests of batches: repeatable, without replacement, augmented, paired."""

import collections
import functools
import hashlib
import io
import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import bad_pictures, pipeline, reader
from cyclegan_jax.data import picture as picture_module
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.pairs import DENIED
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.data.sources import Labels, Source

SIDE = 8
PLAIN = Preprocess('none', flip=False)
AUGMENTED = Preprocess('resize_and_crop', load_size=12, crop_size=SIDE)


def encode(pixels, kind='PNG'):
  file = io.BytesIO()
  Image.fromarray(np.asarray(pixels, np.uint8)).save(file, kind)
  return file.getvalue()


def numbered(count, first=0):
  """Returns one-coloured pictures, each with its number as its gray value."""
  return [
    Picture(f'{i}.png', encode(np.full((SIDE, SIDE), i)))
    for i in range(first, first + count)
  ]


def noisy(count, seed):
  random = np.random.RandomState(seed)
  return [
    Picture(f'{seed} {i}.png', encode(random.randint(0, 256, (9, 13, 3))))
    for i in range(count)
  ]


def batches(a, b, prepare=PLAIN, channels=1, **options):
  """Returns an iterator of batches; options are of `Dataset` or `batches`."""
  ours = {k: options.pop(k) for k in Dataset._fields if k in options}
  train = {'a': a, 'b': b}
  source = Source(train, train, train_pairs=train)
  if isinstance(channels, int):
    channels = {'a': channels, 'b': channels}
  dataset = Dataset(source, prepare, channels, **ours)
  return dataset.batches(**{'seed': 0, 'batch_size': 1} | options)


def take(count, *args, **options):
  return list(itertools.islice(batches(*args, **options), count))


def to_gray(images):
  return np.round((images + 1) * 127.5).astype(int)


def numbers(taken, domain):
  """Numbers of the pictures in batches, one row per step."""
  gray = to_gray(np.stack([batch[domain] for batch in taken]))
  assert (gray == gray[:, :, :1, :1]).all()
  return gray[:, :, 0, 0, 0]


def assert_same(left, right):
  assert len(left) == len(right)
  for x, y in zip(left, right):
    for domain in ('a', 'b'):
      np.testing.assert_array_equal(x[domain], y[domain])


def test_a_batch_depends_only_on_seed_and_step():
  a, b = noisy(5, 1), noisy(3, 2)
  options = {'prepare': AUGMENTED, 'channels': 3, 'batch_size': 2}
  all_steps = take(13, a, b, **options)
  assert all_steps[0]['a'].shape == (2, SIDE, SIDE, 3)
  assert_same(take(13, a, b, **options), all_steps)
  assert_same(take(6, a, b, start_step=7, **options), all_steps[7:])
  assert_same(take(13, a, b, cache_gb=0, **options), all_steps)
  assert_same(
    take(6, a, b, start_step=7, cache_gb=400 / 2**30, **options),
    all_steps[7:],
  )


IN_DECAY = AUGMENTED._replace(load_size=SIDE)


@pytest.mark.parametrize('paired', [False, True])
def test_the_decay_uses_its_own_load_size(paired):
  """Pictures, crop corners and flips do not depend on the load size."""
  a, b = noisy(5, 1), noisy(5, 2)
  options = {'channels': 3, 'batch_size': 2, 'paired': paired}
  before = take(13, a, b, AUGMENTED, **options)
  small = take(13, a, b, IN_DECAY, **options)
  assert not any((x['a'] == y['a']).all() for x, y in zip(before, small))
  options |= {'prepare': AUGMENTED, 'load_size_in_decay': SIDE}
  assert_same(take(13, a, b, **options), before)  # without the option
  assert_same(take(13, a, b, decay_from=0, **options), small)

  options |= {'decay_from': 6}
  expected = before[:6] + small[6:]
  for others in (
    {},
    {'cache_gb': 0},
    {'cache_gb': 400 / 2**30},
    {'threads': 1},
    {'threads': 3},
  ):
    assert_same(take(13, a, b, **options, **others), expected)
  for start in (4, 6, 9):
    resumed = take(13 - start, a, b, start_step=start, **options)
    assert_same(resumed, expected[start:])
  shares = [take(13, a, b, share=(i, 1), **options) for i in (0, 1)]
  joined = [
    {d: np.concatenate([x[d], y[d]]) for d in 'ab'} for x, y in zip(*shares)
  ]
  assert_same(joined, expected)


def test_the_decay_flips_without_random_crops():
  options = {'load_size_in_decay': SIDE, 'decay_from': 40}
  taken = take(80, noisy(1, 1), noisy(1, 2), AUGMENTED, 3, **options)
  for domain in ('a', 'b'):
    assert len({batch[domain].tobytes() for batch in taken[:40]}) > 20
    shown = {batch[domain].tobytes(): batch[domain] for batch in taken[40:]}
    upright, mirrored = shown.values()
    np.testing.assert_array_equal(upright, mirrored[:, :, ::-1])


@pytest.mark.parametrize('threads', [1, 3])
def test_threads_do_not_change_the_batches(threads):
  a, b = noisy(5, 1), noisy(3, 2)
  options = {'prepare': AUGMENTED, 'channels': 3, 'batch_size': 2}
  expected = take(9, a, b, **options)
  assert_same(take(9, a, b, threads=threads, **options), expected)
  source = Source(train={'a': a, 'b': b}, test={})
  dataset = Dataset(source, AUGMENTED, {'a': 3, 'b': 3}, threads=threads)
  taken = list(itertools.islice(dataset.batches(0, batch_size=2), 9))
  assert_same(taken, expected)


def test_batches_of_a_seed_equal_those_of_earlier_versions():
  """Other batches would change resumed runs of earlier versions."""
  taken = take(8, numbered(5), numbered(4, 100), seed=3)
  assert numbers(taken, 'a').ravel().tolist() == [4, 0, 2, 3, 1, 2, 3, 4]
  draws = [100, 100, 100, 101, 100, 101, 103, 101]
  assert numbers(taken, 'b').ravel().tolist() == draws

  prepare = Preprocess('crop', crop_size=SIDE, flip=True)
  picture = [places(12, 14)]
  (batch,) = take(1, picture, picture, prepare, batch_size=6, seed=3)
  # 16 y + x of the upper left and right corners; it decreases if mirrored.
  corners = {d: to_gray(batch[d])[:, 0, [0, -1], 0].tolist() for d in 'ab'}
  assert corners == {
    'a': [[56, 49], [16, 23], [41, 34], [70, 77], [55, 48], [10, 3]],
    'b': [[26, 19], [28, 21], [60, 53], [59, 52], [6, 13], [66, 73]],
  }


def test_unpaired_batches_equal_a_recorded_digest():
  digest = hashlib.sha256()
  options = {'batch_size': 3, 'seed': 7, 'start_step': 2}
  prepare = Preprocess('crop', crop_size=SIDE)
  for batch in take(20, noisy(5, 1), noisy(4, 2), prepare, 3, **options):
    digest.update(batch['a'].tobytes() + batch['b'].tobytes())
  recorded = 'd7a4b63207886547bff5735b767292854bf43834ac72dd2500b5bf30eee6102d'
  assert digest.hexdigest() == recorded


def test_slow_files_do_not_change_the_order(monkeypatch):
  a, b = numbered(8), numbered(8, 100)
  expected = take(24, a, b)
  decoded = reader.decoded

  def slow(picture, *args):
    if int(picture.name.split('.')[0]) % 3 == 0:
      time.sleep(0.02)
    return decoded(picture, *args)

  monkeypatch.setattr(reader, 'decoded', slow)
  assert_same(take(24, a, b, cache_gb=0), expected)


def test_steps_differ_in_augmentation():
  taken = take(40, noisy(1, 1), noisy(1, 2), AUGMENTED, 3)
  for domain in ('a', 'b'):
    # A picture has 5 * 5 * 2 crops.
    assert len({batch[domain].tobytes() for batch in taken}) > 20


def test_another_seed_gives_other_batches():
  a, b = numbered(12), numbered(12)
  runs = [take(24, a, b, seed=seed) for seed in (0, 1)]
  for domain in ('a', 'b'):
    first, second = (numbers(run, domain) for run in runs)
    assert (first != second).mean() > 0.5

  # With one picture only crops and flips can differ.
  one, other = noisy(1, 1), noisy(1, 2)
  runs = [take(24, one, other, AUGMENTED, 3, seed=s) for s in (0, 1)]
  for domain in ('a', 'b'):
    differ = [(x[domain] != y[domain]).any() for x, y in zip(*runs)]
    assert np.mean(differ) > 0.5


@pytest.mark.parametrize('seed', [0, 2**31, 2**40])
def test_an_epoch_uses_each_picture_of_a_once(seed):
  size, epochs = 12, 6
  taken = take(epochs * size, numbered(size), numbered(5, 100), seed=seed)
  orders = numbers(taken, 'a').reshape(epochs, size)
  for order in orders:
    assert sorted(order) == list(range(size))
  assert len({tuple(order) for order in orders}) == epochs
  assert tuple(range(size)) not in {tuple(order) for order in orders}


def test_b_is_drawn_at_random():
  size, epochs = 12, 20
  taken = take(epochs * size, numbered(size), numbered(size, 100))
  draws = numbers(taken, 'b').reshape(epochs, size) - 100
  counts = np.bincount(draws.ravel(), minlength=size)
  assert len(counts) == size
  # The expected count is 20, with a standard deviation of 4.3.
  assert counts.min() > 5 and counts.max() < 40
  # With replacement, 12 draws from 12 are hardly ever all different.
  assert all(len(set(epoch)) < size for epoch in draws[:3])
  # Unpaired: a picture of A is combined with many pictures of B.
  partners = collections.defaultdict(set)
  for i, j in zip(numbers(taken, 'a').ravel(), draws.ravel()):
    partners[i].add(j)
  assert min(len(p) for p in partners.values()) > 4


def test_pictures_of_a_smaller_a_are_used_equally_often():
  """The larger B defines the length of an epoch, as in the official code."""
  taken = take(18, numbered(3), numbered(9, 100))
  for epoch in numbers(taken, 'a').reshape(2, 9):
    assert sorted(epoch) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
  'sizes, batch_size, steps',
  [
    ((5, 3), 1, 5),
    ((3, 5), 1, 5),
    ((5, 3), 2, 3),
    ((6, 3), 2, 3),
    ((6, 3), 4, 2),
    ((6, 3), 6, 1),
    ((6, 3), 7, 1),
  ],
)
def test_steps_per_epoch_follow_from_the_larger_set(sizes, batch_size, steps):
  source = Source(
    train={'a': numbered(sizes[0]), 'b': numbered(sizes[1])}, test={}
  )
  dataset = Dataset(source, PLAIN, {'a': 1, 'b': 1})
  assert dataset.steps_per_epoch(batch_size) == steps


def test_the_last_batch_of_an_epoch_is_filled_up():
  taken = take(6, numbered(5), numbered(2, 100), batch_size=2)
  for epoch in numbers(taken, 'a').reshape(2, 6):
    assert sorted(epoch[:5]) == [0, 1, 2, 3, 4]
    assert epoch[5] == epoch[0]


def test_a_batch_may_be_larger_than_the_dataset():
  taken = take(3, numbered(2), numbered(1, 100), batch_size=5)
  for row in numbers(taken, 'a'):
    assert sorted(np.bincount(row)) == [2, 3]
  assert (numbers(taken, 'b') == 100).all()


def test_shares_of_processes_make_up_the_batch():
  a, b = noisy(5, 1), noisy(3, 2)
  options = {'prepare': AUGMENTED, 'channels': 3, 'batch_size': 4}
  whole = take(5, a, b, **options)
  parts = [take(5, a, b, share=(first, 2), **options) for first in (0, 2)]
  for domain in ('a', 'b'):
    for step, batch in enumerate(whole):
      shares = [part[step][domain] for part in parts]
      assert [share.shape[0] for share in shares] == [2, 2]
      np.testing.assert_array_equal(np.concatenate(shares), batch[domain])


def places(height, width, kind='PNG'):
  """Gray picture whose pixels encode their position: 16 y + x."""
  y, x = np.mgrid[:height, :width]
  return Picture('places.png', encode(16 * y + x, kind))


def test_crops_cover_all_corners():
  height, width = SIDE + 2, SIDE + 3
  prepare = Preprocess('crop', crop_size=SIDE, flip=False)
  picture = [places(height, width)]
  (batch,) = take(1, picture, picture, prepare, batch_size=600)
  y, x = np.mgrid[:SIDE, :SIDE]
  corners = {}
  for domain in ('a', 'b'):
    gray = to_gray(batch[domain])[..., 0]
    top, left = np.divmod(gray[:, 0, 0], 16)
    corner = gray[:, :1, :1]
    np.testing.assert_array_equal(gray, corner + 16 * y + x)
    counts = collections.Counter(zip(top, left))
    assert set(counts) == set(itertools.product(range(3), range(4)))
    # The expected count is 50, with a standard deviation of 6.8.
    assert min(counts.values()) > 22 and max(counts.values()) < 78
    corners[domain] = gray[:, 0, 0]
  # A and B are cropped independently: one in 12 corners is equal by chance.
  assert np.mean(corners['a'] == corners['b']) < 0.2


def test_half_of_the_images_are_flipped():
  prepare = Preprocess('none', flip=True)
  picture = [places(SIDE, SIDE)]
  upright = 16 * np.arange(SIDE)[:, None] + np.arange(SIDE)
  (batch,) = take(1, picture, picture, prepare, batch_size=600)
  flipped = {}
  for domain in ('a', 'b'):
    gray = to_gray(batch[domain])[..., 0]
    flipped[domain] = (gray == upright[:, ::-1]).all((1, 2))
    assert (flipped[domain] | (gray == upright).all((1, 2))).all()
    # The standard deviation is 0.02.
    assert 0.4 < flipped[domain].mean() < 0.6
  assert 0.4 < np.mean(flipped['a'] == flipped['b']) < 0.6


def test_flips_do_not_depend_on_crops():
  prepare = Preprocess('crop', crop_size=SIDE, flip=True)
  picture = [places(SIDE + 1, SIDE + 1)]
  (batch,) = take(1, picture, picture, prepare, batch_size=800)
  gray = to_gray(batch['a'])[..., 0]
  flips = gray[:, 0, 0] > gray[:, 0, -1]
  corners = np.minimum(gray[:, 0, 0], gray[:, 0, -1])
  counts = collections.Counter(zip(corners, flips))
  # The expected count is 100, with a standard deviation of 9.4.
  assert set(counts) == set(itertools.product((0, 1, 16, 17), (False, True)))
  assert min(counts.values()) > 65


def test_pixels_are_scaled_to_the_range_of_images():
  halves = np.zeros((SIDE, SIDE, 3))
  halves[:, SIDE // 2 :] = [255, 255, 51]
  picture = [Picture('halves.png', encode(halves))]
  (batch,) = take(1, picture, picture, channels=3)
  for images in batch.values():
    assert images.dtype == np.float32
    assert (images[0, :, : SIDE // 2] == -1).all()
    # 51 / 127.5 - 1
    expected = np.broadcast_to([1, 1, -0.6], (SIDE, SIDE // 2, 3))
    np.testing.assert_allclose(images[0, :, SIDE // 2 :], expected, atol=1e-6)


def test_resizing_stays_in_range():
  random = np.random.RandomState(0)
  eight = encode(255 * random.randint(0, 2, (9, 11)))
  file = io.BytesIO()
  deep = 65535 * random.randint(0, 2, (9, 11)).astype(np.uint16)
  Image.fromarray(deep.astype(np.uint16)).save(file, 'PNG')
  pictures = [Picture('8.png', eight), Picture('16.png', file.getvalue())]
  prepare = Preprocess('resize_and_crop', load_size=31, crop_size=31)
  for batch in take(4, pictures, pictures, prepare):
    for images in batch.values():
      assert images.min() >= -1 and images.max() <= 1
      assert images.min() < -0.9 and images.max() > 0.9


def test_16_bits_are_not_rounded():
  values = np.arange(0, 65536, 1024).astype(np.uint16).reshape(SIDE, SIDE)
  file = io.BytesIO()
  Image.fromarray(values).save(file, 'PNG')
  picture = [Picture('16.png', file.getvalue())]
  (batch,) = take(1, picture, picture, Preprocess('none', flip=False))
  images = batch['a'][0, ..., 0]
  np.testing.assert_allclose(images, values / 32767.5 - 1, atol=2e-7)


def test_a_cached_picture_is_not_changed():
  """Crops are views of the cached array."""
  source = Source({'a': [places(12, 14)]}, {})
  dataset = Dataset(source, AUGMENTED, {'a': 1})
  read = reader.Reader(dataset, 'a', reader.Cache(10**6))
  expected = read._read(0)[0].copy()
  for flip in (False, True):
    read(np.array([0]), np.array([[0.5, 0.5]]), np.array([flip]))
  np.testing.assert_array_equal(read._read(0)[0], expected)


def test_domains_can_have_different_channels():
  source = Source(train={'a': noisy(2, 1), 'b': noisy(2, 2)}, test={})
  dataset = Dataset(source, AUGMENTED, {'a': 1, 'b': 3})
  batch = dataset.example_batch()
  assert batch['a'].shape == (1, SIDE, SIDE, 1)
  assert batch['b'].shape == (1, SIDE, SIDE, 3)


@pytest.mark.parametrize('domain', ['a', 'b'])
def test_a_corrupt_picture_is_named_when_it_is_read(tmp_path, domain):
  pictures = {'a': numbered(9), 'b': numbered(9, 100)}
  good = take(30, pictures['a'], pictures['b'])
  order = numbers(good, domain).ravel().tolist()
  victim = order[5]
  reached = order.index(victim)

  file = tmp_path / 'corrupt.jpg'
  noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3))
  file.write_bytes(encode(noise, 'JPEG')[:2000])
  pictures[domain][victim % 100] = Picture(str(file), file)
  steps = batches(pictures['a'], pictures['b'])
  taken = []
  with pytest.raises(UserError) as error:
    taken.extend(itertools.islice(iter(lambda: next(steps), None), reached))
    next(steps)
  assert str(file) in str(error.value)
  assert len(taken) == reached
  assert_same(taken, good[:reached])


STOPS_EARLY = """
import time
from cyclegan_jax.data import reader
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.preprocess import Preprocess
from cyclegan_jax.data.sources import folder

decoded = reader.decoded
reader.decoded = lambda *args: time.sleep(0.1) or decoded(*args)
channels = {{'a': 3, 'b': 3}}
dataset = Dataset(folder({root!r}), Preprocess('none'), channels, cache_gb=0)
steps = dataset.batches(seed=0, batch_size=1)
next(steps)
"""


def test_a_program_can_end_while_pictures_are_read(pictures):
  code = STOPS_EARLY.format(root=str(pictures))
  subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


def test_test_images_show_the_whole_picture():
  picture = noisy(1, 1)[0]
  prepare = Preprocess('resize_and_crop', load_size=99, crop_size=24)
  image = reader.load_test_image(picture, prepare, 3)
  assert image.dtype == np.float32
  upright = Image.open(io.BytesIO(picture.data))
  resized = np.asarray(upright.resize((24, 24), Image.Resampling.BICUBIC), int)
  assert np.abs(to_gray(image) - resized).max() <= 2
  again = reader.load_test_image(picture, prepare, 3)
  np.testing.assert_array_equal(again, image)


def test_test_images_are_cropped_in_the_middle():
  prepare = Preprocess('crop', crop_size=SIDE, flip=True)
  for _ in range(5):
    image = reader.load_test_image(places(12, 14), prepare, 1)
    gray = to_gray(image)[..., 0]
    # Top (12 - 8) / 2 = 2, left (14 - 8) / 2 = 3; x increases: not flipped.
    expected = 16 * np.arange(2, 10)[:, None] + np.arange(3, 11)
    np.testing.assert_array_equal(gray, expected)


def test_test_images_smaller_than_the_crop_are_not_padded():
  prepare = Preprocess('crop', crop_size=10, flip=True)
  image = reader.load_test_image(places(9, 14), prepare, 1)
  assert image.shape == (9, 10, 1)
  assert to_gray(image)[0, 0, 0] == 2


def test_test_images_are_spread_evenly():
  test = {'a': numbered(5), 'b': numbered(4, 100)}
  source = Source(train=test, test=test)
  dataset = Dataset(source, PLAIN, {'a': 1, 'b': 1})

  def shown(domain, count=None):
    images = dataset.test_images(domain, count)
    return [int(to_gray(i)[0, 0, 0]) for i in images]

  assert shown('a') == [0, 1, 2, 3, 4]
  assert shown('a', 3) == [0, 2, 4]
  assert shown('a', 1) == [0]
  assert shown('b', 2) == [100, 103]
  assert shown('b', 99) == [100, 101, 102, 103]


def test_the_cache_does_not_exceed_its_budget():
  made = collections.Counter()

  def get(cache, key):
    def make():
      made[key] += 1
      return np.full(100, key, np.uint8)

    return cache.get(key, make)

  cache = reader.Cache(299)
  for _ in range(3):
    for key in range(5):
      assert (get(cache, key) == key).all()
  # Two arrays fit into the cache; the others are made each time.
  assert sorted(made.values()) == [1, 1, 3, 3, 3]

  made.clear()
  cache = reader.Cache(500)
  for key in [0, 1, 2, 3, 4] * 3:
    get(cache, key)
  assert set(made.values()) == {1}


@pytest.fixture
def reads(monkeypatch):
  """Counts how often each picture is read."""
  counts = collections.Counter()
  decoded = reader.decoded

  def counted(picture, *args):
    counts[picture.name] += 1
    time.sleep(
      0.01
    )  # long enough for another thread to request the same picture
    return decoded(picture, *args)

  monkeypatch.setattr(reader, 'decoded', counted)
  return counts


def test_each_picture_is_read_once_if_the_cache_is_large(reads):
  a, b = noisy(4, 1), noisy(3, 2)
  size = 12 * 12 * 3
  taken = take(50, a, b, AUGMENTED, 3, cache_gb=(7 * size) / 2**30)
  assert reads == {p.name: 1 for p in a + b}
  # Pictures are cached before augmentation, which still varies them.
  assert len({batch['a'].tobytes() for batch in taken}) > 30


def test_pictures_beyond_the_cache_are_read_again(reads):
  a, b = noisy(4, 1), noisy(3, 2)
  size = 12 * 12 * 3
  take(50, a, b, AUGMENTED, 3, cache_gb=(4 * size - 1) / 2**30)
  assert len(reads) == 7
  assert sum(count == 1 for count in reads.values()) == 3

  reads.clear()
  take(20, a, b, AUGMENTED, 3, cache_gb=0)
  assert sum(reads.values()) >= 40


def test_a_closed_cache_stores_nothing():
  cache = reader.Cache(500)
  makes = [
    functools.partial(np.full, 100, value, np.uint8) for value in range(4)
  ]
  assert [cache.get('key', make)[0] for make in makes[:2]] == [0, 0]
  cache.close()
  assert [cache.get('key', make)[0] for make in makes[2:]] == [2, 3]


def test_the_decay_can_use_the_whole_cache(reads, monkeypatch):
  caches = []

  class Noted(reader.Cache):
    def __init__(self, budget):
      super().__init__(budget)
      caches.append(self)

  monkeypatch.setattr(pipeline, 'Cache', Noted)
  a, b = noisy(4, 1), noisy(3, 2)
  options = {'load_size_in_decay': SIDE, 'decay_from': 25}
  # Exactly the size of the larger pictures.
  options |= {'cache_gb': 7 * 12 * 12 * 3 / 2**30, 'threads': 1}
  take(50, a, b, AUGMENTED, 3, **options)
  assert reads == {p.name: 2 for p in a + b}
  assert [len(cache._arrays) for cache in caches] == [0, 7]


def test_domains_do_not_share_cache_entries():
  same = noisy(1, 1)
  source = Source(train={'a': same, 'b': same}, test={})
  dataset = Dataset(source, PLAIN, {'a': 1, 'b': 3})
  for batch in itertools.islice(dataset.batches(seed=0, batch_size=1), 3):
    assert batch['a'].shape[-1] == 1
    assert batch['b'].shape[-1] == 3


@pytest.fixture
def no_warnings_yet(monkeypatch):
  monkeypatch.setattr(bad_pictures, '_warned', set())


def spoil(pictures, *places):
  """Replaces pictures by unreadable ones; only the first has a valid header."""
  random = np.random.RandomState(0)
  jpeg = encode(random.randint(0, 256, (64, 64, 3)), 'JPEG')[:2000]
  bad = list(pictures)
  for i in places:
    bad[i] = Picture(f'bad {i}', jpeg if i == places[0] else b'no picture')
  return bad


def test_skip_replaces_a_bad_picture_by_the_next(no_warnings_yet, capsys):
  a, b = numbered(6), numbered(4, 100)
  good = take(24, a, b, batch_size=2)
  a_bad, b_bad = spoil(a, 5, 2, 3), spoil(b, 1)
  options = {'batch_size': 2, 'on_bad_image': 'skip'}
  taken = take(24, a_bad, b_bad, **options)
  used = {0: 0, 1: 1, 2: 4, 3: 4, 4: 4, 5: 0, 100: 100, 101: 102}
  for domain in ('a', 'b'):
    expected = [
      [used.get(i, i) for i in row] for row in numbers(good, domain).tolist()
    ]
    assert numbers(taken, domain).tolist() == expected

  warnings = capsys.readouterr().err.splitlines()
  assert len(warnings) == 4  # although each is requested many times
  for name in ('bad 1:', 'bad 2:', 'bad 3:', 'bad 5:'):
    assert sum(line.startswith(f'warning: {name}') for line in warnings) == 1

  # The result does not depend on the thread that reads a bad picture.
  assert_same(take(24, a_bad, b_bad, threads=3, **options), taken)
  assert_same(take(24, a_bad, b_bad, cache_gb=0, **options), taken)
  assert_same(take(5, a_bad, b_bad, start_step=19, **options), taken[19:])
  assert capsys.readouterr().err == ''


def test_skip_reads_a_bad_picture_once(reads):
  take(
    40, spoil(numbered(3), 1), numbered(2, 100), on_bad_image='skip', threads=1
  )
  assert reads.pop('bad 1') == 1


def test_skip_stops_if_no_picture_is_left():
  with pytest.raises(UserError, match='bad 0: neither.*of the 2 pictures'):
    take(1, spoil(numbered(2), 0, 1), numbered(2, 100), on_bad_image='skip')


def test_skip_leaves_out_pictures_smaller_than_the_crop():
  a = numbered(2)
  a[0] = Picture('large.png', encode(np.full((12, 12), 50)))
  prepare = Preprocess('crop', crop_size=10, flip=False)
  with pytest.raises(UserError, match='1.png: 8x8 is smaller'):
    take(4, a, a, prepare)
  taken = take(4, a, a, prepare, on_bad_image='skip')
  assert (numbers(taken, 'a') == 50).all()


def test_skip_does_not_accept_mixed_sizes():
  a = numbered(2)
  a[0] = Picture('large.png', encode(np.full((12, 12), 50)))
  with pytest.raises(UserError, match='does not crop to one size'):
    take(4, a, numbered(1), on_bad_image='skip')


def test_skip_leaves_out_bad_test_pictures(no_warnings_yet, capsys):
  test = {'a': spoil(numbered(5), 2), 'b': spoil(numbered(2, 100), 0, 1)}
  source = Source(train=test, test=test)
  dataset = Dataset(source, PLAIN, {'a': 1, 'b': 1}, on_bad_image='skip')
  assert dataset.checked() is not None

  def shown(count):
    return [to_gray(i)[0, 0, 0] for i in dataset.test_images('a', count)]

  assert shown(None) == [0, 1, 3, 4]
  assert shown(3) == [0, 3, 4]
  assert capsys.readouterr().err.count('bad 2') == 1
  with pytest.raises(UserError, match='bad 0'):
    dataset.test_images('b')
  with pytest.raises(UserError, match='bad 2'):
    dataset._replace(on_bad_image='stop').test_images('a')


def test_skip_keeps_pairs_and_labels_together(no_warnings_yet, capsys):
  train = {'a': numbered(1), 'b': numbered(1)}
  test = {
    'a': spoil(numbered(6), 1),
    'b': spoil(numbered(6, 100), 4),
  }
  labels = Labels(spoil(numbered(6, 200), 2), ['sea'], [[[0, 0, 255]]])
  source = Source(train, test, paired=True, labels=labels)
  dataset = Dataset(
    source, PLAIN, {'a': 1, 'b': 1}, on_bad_image='skip'
  ).checked()
  kept = dataset.source
  for pictures, first in (
    (kept.test['a'], 0),
    (kept.test['b'], 100),
    (kept.labels.pictures, 200),
  ):
    assert [p.name for p in pictures] == [f'{first + i}.png' for i in (0, 3, 5)]
  assert (kept.labels.classes, kept.train) == (['sea'], train)
  assert capsys.readouterr().err.count('its test pair is skipped') == 3

  test['b'] = spoil(test['b'], 0, 3, 5)
  with pytest.raises(UserError, match='nor any other'):
    Dataset(source, PLAIN, {'a': 1, 'b': 1}, on_bad_image='skip').checked()


def test_headers_are_checked_before_a_run():
  good, bad = numbered(2), spoil(numbered(2), 0, 1)
  some, channels = [good[0], bad[1]], {'a': 1, 'b': 1}
  for train, stops, stops_in_spite in (
    (good, False, False),
    (some, True, False),
    ([bad[1]] * 2, True, True),
  ):
    source = Source({'a': good, 'b': train}, {'a': good, 'b': good})
    for skipping, expected in ((False, stops), (True, stops_in_spite)):
      dataset = Dataset(
        source, PLAIN, channels, on_bad_image='skip' if skipping else 'stop'
      )
      if expected:
        with pytest.raises(UserError, match='bad 1'):
          dataset.checked()
      else:
        assert dataset.checked() is dataset


def test_names_are_the_pictures_of_the_batch():
  a, b = numbered(7), numbered(4, 100)
  source = Source({'a': a, 'b': b}, {})
  dataset = Dataset(source, PLAIN, {'a': 1, 'b': 1})
  steps = itertools.islice(dataset.batches(3, 3, start_step=5), 4)
  for step, batch in enumerate(steps, 5):
    shown = {d: [f'{i}.png' for i in numbers([batch], d)[0]] for d in 'ab'}
    assert dataset.names(3, 3, step) == shown
    share = dataset.names(3, 3, step, share=(1, 2))
    assert share == {d: names[1:] for d, names in shown.items()}


def test_names_include_replacements_of_bad_pictures():
  a = spoil(numbered(3), 1)
  dataset = Dataset(Source({'a': a, 'b': a}, {}), PLAIN, {'a': 1, 'b': 1})
  for step, batch in enumerate(take(6, a, a, on_bad_image='skip')):
    names = dataset._replace(on_bad_image='skip').names(0, 1, step)
    assert names == {d: [f'{numbers([batch], d)[0, 0]}.png'] for d in 'ab'}
  asked = [dataset.names(0, 1, step)['a'] for step in range(3)]
  assert ['bad 1'] in asked


def test_a_picture_can_be_bad_only_in_the_decay(no_warnings_yet, monkeypatch):
  monkeypatch.setattr(picture_module, 'MAX_PIXELS', 2000)
  a = numbered(3)
  a[1] = Picture('tall.png', encode(np.full((5 * SIDE, SIDE), 1)))
  small = Preprocess('scale_width_and_crop', 12, SIDE)
  train = {'a': a, 'b': a}
  dataset = Dataset(
    Source(train, train),
    small,
    {'a': 1, 'b': 1},
    on_bad_image='skip',
    load_size_in_decay=24,  # the tall picture becomes 24x120
    decay_from=12,
  )
  seen = []
  for step, batch in enumerate(itertools.islice(dataset.batches(0, 1), 24)):
    shown = numbers([batch], 'a')[0, 0]
    name = dataset.names(0, 1, step)['a']
    assert name == [{1: 'tall.png'}.get(shown, f'{shown}.png')]
    seen.append(shown)
  assert set(seen[:12]) == {0, 1, 2}
  assert set(seen[12:]) == {0, 2}
  plain = dataset._replace(load_size_in_decay=0)
  drawn = [plain.names(0, 1, step)['a'] for step in range(12, 24)]
  stand_ins = {'0.png': 0, 'tall.png': 2, '2.png': 2}
  assert seen[12:] == [stand_ins[name] for (name,) in drawn]


def pairs(count):
  """True pairs of colour and gray pictures; gray is the red of its pair."""
  random = np.random.RandomState(0)
  pixels = [random.randint(0, 256, (11, 13, 3)) for _ in range(count)]
  for x in pixels:
    x[..., 1] = 0  # differs from B
  return (
    [Picture(f'{i}_A.png', encode(x)) for i, x in enumerate(pixels)],
    [Picture(f'{i}_B.png', encode(x[..., 0])) for i, x in enumerate(pixels)],
  )


PAIRED = {
  'prepare': Preprocess('crop', crop_size=SIDE),
  'channels': {'a': 3, 'b': 1},
  'paired': True,
}


@pytest.mark.parametrize('cache_bytes', [0, 900, 2**20])
def test_a_true_pair_has_equal_crops_and_flips(cache_bytes):
  taken = take(
    30, *pairs(4), batch_size=3, cache_gb=cache_bytes / 2**30, **PAIRED
  )
  shown = collections.Counter()
  for batch in taken:
    assert batch['a'].shape == (3, SIDE, SIDE, 3)
    assert batch['b'].shape == (3, SIDE, SIDE, 1)
    np.testing.assert_array_equal(batch['a'][..., :1], batch['b'])
    assert (batch['a'][..., 1] == -1).all()
    shown.update(image.tobytes() for image in batch['a'])
  # There are 4 * 4 * 6 * 2 crops; each pair is augmented on its own.
  assert len(shown) > 50


def test_an_epoch_uses_each_pair_once():
  size, epochs = 7, 4
  a, b = numbered(size), numbered(size, 100)
  taken = take(size * epochs, a, b, paired=True)
  orders = numbers(taken, 'a').reshape(epochs, size)
  np.testing.assert_array_equal(numbers(taken, 'b').ravel() - 100, orders.flat)
  assert all(sorted(order) == list(range(size)) for order in orders)
  assert len({tuple(order) for order in orders}) == epochs
  # The order of A is that of an unpaired run.
  np.testing.assert_array_equal(
    numbers(take(size, a, b), 'a').ravel(), orders[0]
  )


def test_paired_batches_depend_only_on_seed_and_step():
  a, b = pairs(5)
  options = PAIRED | {'batch_size': 4}
  whole = take(9, a, b, **options)
  assert_same(take(9, a, b, threads=3, **options), whole)
  assert_same(take(4, a, b, start_step=5, **options), whole[5:])
  parts = [take(9, a, b, share=(first, 2), **options) for first in (0, 2)]
  joined = [
    {d: np.concatenate([x[d], y[d]]) for d in 'ab'} for x, y in zip(*parts)
  ]
  assert_same(joined, whole)
  other = take(9, a, b, seed=1, **options)
  assert any((x['a'] != y['a']).any() for x, y in zip(whole, other))


def test_skip_replaces_the_whole_pair(no_warnings_yet, capsys):
  a, b = spoil(numbered(6), 2), spoil(numbered(6, 100), 3, 5)
  good = take(12, numbered(6), numbered(6, 100), paired=True)
  taken = take(12, a, b, paired=True, on_bad_image='skip')
  used = {0: 0, 1: 1, 2: 4, 3: 4, 4: 4, 5: 0}
  expected = [used[i] for i in numbers(good, 'a').ravel()]
  assert numbers(taken, 'a').ravel().tolist() == expected
  assert (numbers(taken, 'b').ravel() - 100).tolist() == expected
  assert len(capsys.readouterr().err.splitlines()) == 3

  train = {'a': a, 'b': b}
  source = Source(train, {}, train_pairs=train)
  channels = {'a': 1, 'b': 1}
  dataset = Dataset(source, PLAIN, channels, on_bad_image='skip', paired=True)
  for step, i in enumerate(expected):
    names = {'a': [f'{i}.png'], 'b': [f'{100 + i}.png']}
    assert dataset.names(0, 1, step) == names
  with pytest.raises(UserError, match='bad [235]'):
    take(6, a, b, paired=True)


def test_pictures_of_a_pair_must_have_equal_sizes(no_warnings_yet, capsys):
  a, b = numbered(3), numbered(3, 100)
  b[1] = Picture('wide.png', encode(np.full((SIDE, 9), 101)))
  # Even if both would be resized to the same size.
  for prepare in (PLAIN, AUGMENTED):
    with pytest.raises(UserError) as error:
      take(3, a, b, prepare, paired=True)
    message = (
      'wide.png: 9x8, but 8x8 in 1.png: the pictures of a pair need the same '
      'size'
    )
    assert str(error.value) == message
  taken = take(6, a, b, AUGMENTED, paired=True, on_bad_image='skip')
  assert set(numbers(taken, 'b').ravel()) == {100, 102}
  assert 'wide.png' in capsys.readouterr().err


def test_a_paired_dataset_uses_the_true_pairs(no_warnings_yet):
  train = {'a': numbered(3), 'b': numbered(2, 100)}
  true = {'a': numbered(5, 10), 'b': numbered(5, 110)}
  labels = Labels(numbered(3, 200), ['sea'], [[[0, 0, 255]]])
  source = Source(train, train, train_pairs=true, train_labels=labels)
  dataset = Dataset(source, PLAIN, {'a': 1, 'b': 1}, paired=True)
  assert dataset.steps_per_epoch(2) == 3
  for data in (dataset, dataset.checked()):
    assert data.train == true
    batch = data.example_batch()
    number = to_gray(batch['a']).max()
    assert number in range(10, 15)
    assert (to_gray(batch['b']) == 100 + number).all()
    names = {'a': [f'{number}.png'], 'b': [f'{100 + number}.png']}
    assert data.names(0, 1, 0) == names
  # The record of a run contains the pictures that it uses.
  assert dataset.checked().source.train == true
  assert dataset.checked().source.train_labels is None
  assert dataset._replace(paired=False).train == train

  true['b'] = spoil(true['b'], 1, 4)
  with pytest.raises(UserError, match='bad 4'):
    dataset.checked()


def test_a_paired_dataset_needs_true_pairs():
  train = {'a': numbered(2), 'b': numbered(2)}
  dataset = Dataset(Source(train, train), PLAIN, {'a': 1, 'b': 1}, paired=True)
  for use in (
    dataset.checked,
    dataset.example_batch,
    lambda: dataset.steps_per_epoch(1),
    lambda: dataset.names(0, 1, 0),
  ):
    with pytest.raises(UserError) as error:
      use()
    message = str(error.value)
    assert '\n' not in message
    for word in ('pairsA', 'pairsB', 'trainA', '1_B.jpg', 'aligned', 'tfds'):
      assert word in message


@pytest.mark.parametrize(
  'note, words',
  [
    (DENIED, f'{DENIED}: leave data.paired at auto'),
    ('x.png has no counterpart', 'x.png has no counterpart: data.source='),
  ],
)
def test_the_reason_for_missing_pairs_is_named(note, words):
  train = {'a': numbered(2), 'b': numbered(2)}
  source = Source(train, train, pairs_note=note)
  dataset = Dataset(source, PLAIN, {'a': 1, 'b': 1}, paired=True)
  with pytest.raises(UserError, match=f'true pairs, but {words}'):
    dataset.checked()
