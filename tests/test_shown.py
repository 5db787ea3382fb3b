"""Tests of images of any number of channels, as shown to people or networks."""

import types

import numpy as np
import pytest
import tiny
from test_perceptual import needs_weights

from cyclegan_jax.common import images
from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics import labels, notes, segmenter_model, test_set
from cyclegan_jax.metrics.base import Metric, Needs
from cyclegan_jax.metrics.registry import METRICS, make
from cyclegan_jax.metrics.table import Truth, table
from cyclegan_jax.report_page import gallery
from cyclegan_jax.training.samples import Sampler

# A pixel with five different values.
CHANNELS = np.float32([-0.8, -0.4, 0.0, 0.4, 0.8])


def pixel(count, size=1):
  return np.broadcast_to(CHANNELS[:count], (size, size, count))


@pytest.mark.parametrize(
  ('count', 'channels', 'rgb'),
  [
    (1, None, [-0.8, -0.8, -0.8]),
    (2, None, [-0.8, -0.4, -1.0]),
    (3, None, [-0.8, -0.4, 0.0]),
    (5, None, [-0.8, -0.4, 0.0]),
    (5, (5, 4, 1), [0.8, 0.4, -0.8]),
    (5, (4,), [0.4, 0.4, 0.4]),
    (3, (3, 2, 1), [0.0, -0.4, -0.8]),
    (2, (2,), [-0.4, -0.4, -0.4]),
    (1, (1, 1, 1), [-0.8, -0.8, -0.8]),
  ],
)
def test_three_channels_are_shown(count, channels, rgb):
  expected = np.broadcast_to(np.float32(rgb), (1, 1, 3))
  shown = images.shown(pixel(count), channels)
  np.testing.assert_array_equal(shown, expected)
  assert shown.dtype == np.float32
  together = images.shown(np.stack([pixel(count)] * 2), channels)
  np.testing.assert_array_equal(together, np.stack([expected] * 2))
  pixels = images.to_rgb(pixel(count), channels)
  np.testing.assert_array_equal(pixels, images.to_pixels(expected))
  assert images.grid([[pixel(count)]]).shape == (128, 128, 3)


def test_rgb_is_shown_unchanged():
  image = np.zeros((2, 2, 3), np.float32)
  assert images.shown(image) is image


@pytest.mark.parametrize(
  ('text', 'count', 'chosen', 'said'),
  [
    ('auto', 1, None, 'channel 1 as gray'),
    ('auto', 2, None, 'channels 1 and 2 as red and green'),
    ('auto', 7, None, 'channels 1, 2 and 3 as red, green and blue'),
    ('3,2,1', 7, (3, 2, 1), 'channels 3, 2 and 1 as red, green and blue'),
    (' 4, 3 ,2', 4, (4, 3, 2), 'channels 4, 3 and 2 as red, green and blue'),
    ('2', 2, (2,), 'channel 2 as gray'),
  ],
)
def test_the_option_chooses_shown_channels(text, count, chosen, said):
  assert images.show_channels(text, count, 'data.show_a') == chosen
  assert images.shown_as(count, chosen) == said


@pytest.mark.parametrize('text', ['', 'rgb', '1,2', '1,2,3,4', '1.0', '1;2;3'])
def test_invalid_texts_of_the_option_are_refused(text):
  with pytest.raises(UserError, match='data.show_b=.* must be auto, three'):
    images.show_channels(text, 5, 'data.show_b')


@pytest.mark.parametrize('text', ['0', '6', '3,2,-1', '1,2,6'])
def test_missing_channels_are_refused(text):
  with pytest.raises(UserError, match='no channel (0|6|-1), .* from 1 to 5'):
    images.show_channels(text, 5, 'data.show_a')


def test_luminance_of_other_channels_is_their_mean():
  assert images.luminance(pixel(5) + 1).item() == pytest.approx(1.0)
  assert images.luminance(pixel(2)).item() == pytest.approx(-0.6)
  assert images.luminance(pixel(1)).item() == np.float32(-0.8)
  # 0.299 * -0.8 + 0.587 * -0.4
  assert images.luminance(pixel(3)).item() == pytest.approx(-0.474)


def test_images_of_a_grid_use_the_channels_of_their_domain():
  method = types.SimpleNamespace(
    directions=('a2b', 'b2a'),
    # a2b keeps the first 2 of 5 channels; b2a repeats the first 5 times.
    translate=lambda params, x, direction: (
      x[..., :2] if direction == 'a2b' else np.repeat(x[..., :1], 5, -1)
    ),
  )
  inputs = {'a': [pixel(5, 128)], 'b': [pixel(2, 128)]}
  sampler = Sampler(method, inputs, {'a': (5, 4, 1), 'b': None})
  state = types.SimpleNamespace(translation_params=lambda: {})
  picture = sampler.grid(sampler.start(state))
  assert picture.shape[1] == 6 * 130 - 2
  picture = picture[-128:]
  colours = picture[64, 64::130]
  two, first = [-0.8, -0.4, -1.0], [-0.8] * 3
  expected = [[0.8, 0.4, -0.8], two, first, two, first, two]
  # The last image is b to a to b, where both channels are the first of b.
  expected[-1] = [-0.8, -0.8, -1.0]
  np.testing.assert_array_equal(colours, images.to_pixels(np.float32(expected)))


def black(count, height=64, width=64):
  """Returns a row of black images."""
  return [np.full((height, width, 3), -1, np.float32)] * count


def texts(*arguments):
  """Returns the darkness of the titles above a grid of black images."""
  rows, *words = arguments
  picture = images.grid(rows, *words)
  bare = images.grid(rows)
  band = picture[: len(picture) - len(bare)]
  np.testing.assert_array_equal(picture[len(band) :], bare)
  return 255 - band.astype(int)


def test_titles_are_above_their_columns():
  ink = texts([black(3), black(3)], ['A', '', 'back to A'])
  columns = [ink[:, i * 130 : i * 130 + 130].sum() for i in range(3)]
  assert columns[0] and not columns[1] and columns[2] > 2 * columns[0]
  assert ink.max() == 255 and not ink[0].any()  # black, below a white line
  # Letters of about ten pixels are legible.
  assert 8 <= np.ptp(np.flatnonzero(ink.any((1, 2)))) <= 20


def test_the_heading_is_above_the_titles():
  titles = texts([black(2)], ['A', 'B'])
  both = texts([black(2)], ['A', 'B'], 'step 3500')
  np.testing.assert_array_equal(both[-len(titles) + 2 :], titles[2:])
  assert both[: len(both) - len(titles)].any()
  other = texts([black(2)], ['A', 'B'], 'step 3600')
  assert other.shape == both.shape and (other != both).any()


def test_columns_fit_their_titles_and_images():
  rows = [black(2, 128, 10), black(2, 128, 40)]
  picture = images.grid(rows, ['back to A', 'B'])
  pixels = picture[-258:]
  first = np.flatnonzero((pixels[200] == 0).all(-1))
  assert first[0] == 0 and first[39] == 39  # the wide image begins at the left
  assert first[40] > 60  # after the title
  second = np.flatnonzero((pixels[10] == 0).all(-1))
  assert second[10] == first[40]  # both rows have the same column


@pytest.mark.parametrize('directions', [('a2b', 'b2a'), ('a2b',)])
def test_a_sample_grid_has_titles_and_step(directions, monkeypatch):
  method = types.SimpleNamespace(
    directions=directions, translate=lambda params, x, direction: x
  )
  asked, true = [], images.grid
  monkeypatch.setattr(
    images, 'grid', lambda *words: asked.append(words[1:]) or true(*words)
  )
  sampler = Sampler(method, {d: [pixel(3, 8)] for d in 'ab'})
  state = types.SimpleNamespace(translation_params=lambda: {})
  sampler.grid(sampler.start(state), 3500)
  a = ['A', 'A to B', 'back to A', 'identity']
  b = ['B', 'B to A', 'back to B', 'identity']
  titles = a + b if len(directions) == 2 else ['A', 'A to B']
  assert asked == [(titles, 'step 3500')]


def of_shown(kind):
  """Metric of mean shown colours."""
  distance = {
    'pairs': lambda x, y: np.abs(x - y).max(-1),
    'sets': lambda x, y: {'D': float(np.abs(x.mean(0) - y.mean(0)).max())},
  }[kind]

  def features(images):
    assert images.shape[-1] == 3
    return images.mean((1, 2))

  return Metric(kind, kind, ('D',), distance, features, size=3, of_shown=True)


@pytest.mark.parametrize('kind', ['pairs', 'sets'])
def test_metrics_of_rgb_use_shown_channels(kind):
  a, b = np.zeros((4, 4, 5), np.float32), np.zeros((4, 4, 5), np.float32)
  b[..., 3] = 0.5
  tests = Truth({'a': [a], 'b': [b]}, paired=True)

  def distances(**show):
    rows = table(
      lambda images, direction: images,
      tests._replace(show={'a': None, 'b': None} | show),
      ('a2b',),
      [of_shown(kind)],
      ('translated', 'copy the input'),
    )
    return {row['candidate']: row['D'] for row in rows}

  both = ('translated', 'copy the input')
  assert distances() == dict.fromkeys(both, 0.0)
  # A copy of the input is also shown like an image of B.
  assert distances(b=(4,)) == dict.fromkeys(both, 0.5)
  assert distances(a=(4,)) == dict.fromkeys(both, 0.0)


@needs_weights
def test_metrics_of_pretrained_networks_use_shown_channels():
  needs = Needs(paired=True, colours=[[[0, 0, 0]]], predicted=True)
  chosen = make([x for x in METRICS if x not in ('fid', 'kid')], needs)
  assert {x.name for x in chosen if not x.of_shown} == {
    *('l1', 'psnr', 'ssim', 'dice', 'fcn', 'palette')
  }


def test_the_note_names_shown_channels():
  chosen = [of_shown('pairs')]
  five, rgb = np.zeros((4, 4, 5)), np.zeros((4, 4, 3))
  tests = Truth({'a': [five], 'b': [rgb]}, paired=True)
  assert list(notes.lines(chosen, tests)) == [
    'D: of shown channels only (A: channels 1, 2 and 3 as red, green and blue)'
  ]
  assert not list(notes.lines(make(['l1'], Needs(paired=True)), tests))
  tests = Truth({'a': [rgb], 'b': [rgb]}, paired=True)
  assert not list(notes.lines(chosen, tests))
  (line,) = notes.lines(chosen, tests._replace(show={'a': None, 'b': (2,)}))
  assert line.endswith('(B: channel 2 as gray)')


def test_label_maps_are_read_only_from_gray_or_rgb():
  image = np.zeros((8, 8, 5), np.float32)
  read = segmenter_model.function(segmenter_model.Segmenter(2), {})
  for segment in (read, lambda x: labels.nearest_colour(x, [[[0, 0, 0]]])):
    with pytest.raises(UserError, match='5 channels .*leave out .* fcn'):
      segment(image)
  assert labels.nearest_colour(image[..., :1], [[[0, 0, 0]]]).shape == (8, 8)


def test_only_the_output_domain_needs_rgb_for_label_maps():
  a, b = np.zeros((8, 8, 5), np.float32), np.zeros((8, 8, 3), np.float32)
  tests = Truth({'a': [a], 'b': [b]}, paired=True, labels=[np.zeros((8, 8))])
  needs = Needs(paired=True, directions=('a2b',), colours=[[[0, 0, 0]]])
  chosen = make(['palette'], needs)
  test_set.check(tests, ('a2b',), chosen)
  with pytest.raises(UserError, match='pictures of 5 channels'):
    test_set.check(
      tests._replace(pictures={'a': [b], 'b': [a]}), ('a2b',), chosen
    )


def test_the_gallery_names_shown_channels():
  data = types.SimpleNamespace(
    channels={'a': 5, 'b': 3}, show={'a': (5, 3, 1), 'b': None}
  )
  assert gallery._note_of_channels(data, 'b2a') == (
    ' A: channels 5, 3 and 1 as red, green and blue.'
  )
  data.channels['a'], data.show['a'] = 1, None
  assert not gallery._note_of_channels(data, 'a2b')


@pytest.mark.parametrize('domain', 'ab')
def test_vgg_features_need_gray_or_rgb(domain):
  channels = tiny.CHANNELS | {domain: 5}
  with pytest.raises(UserError, match=f'data.channels_{domain}=5: .*VGG-16'):
    tiny.method('feature', channels=channels)
