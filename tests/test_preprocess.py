"""Tests of the official preprocessing modes: sizes, resizing, errors."""

import io

import numpy as np
import pytest
from PIL import Image

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data import reader
from cyclegan_jax.data.dataset import Dataset
from cyclegan_jax.data.decode import load
from cyclegan_jax.data.picture import Picture
from cyclegan_jax.data.preprocess import (
  MODES,
  Preprocess,
  check_in_decay,
  preprocess,
)
from cyclegan_jax.data.sources import Source


def picture(name, width, height, channels=3):
  pixels = np.random.RandomState(0).randint(0, 256, (height, width, channels))
  image = Image.fromarray(np.squeeze(pixels.astype(np.uint8)))
  file = io.BytesIO()
  image.save(file, 'PNG')
  return Picture(name, file.getvalue())


def batches(pictures_a, prepare, batch_size=2):
  source = Source(train={'a': pictures_a, 'b': pictures_a[:1]}, test={})
  dataset = Dataset(source, prepare, {'a': 3, 'b': 3})
  return dataset.batches(seed=0, batch_size=batch_size)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
  'size, new',
  [
    ((37, 23), (61, 47)),
    ((37, 23), (13, 9)),
    ((37, 23), (101, 9)),
    ((9, 101), (33, 17)),
    ((64, 64), (63, 65)),
    ((255, 129), (8, 8)),
  ],
)
def test_resizing_equals_pillows_bicubic(size, new, channels):
  noise = picture('noise', *size, channels)
  array = load(noise, channels, lambda w, h: new)
  assert array.shape == (new[1], new[0], channels)
  image = Image.open(io.BytesIO(noise.data))
  expected = np.asarray(image.resize(new, Image.Resampling.BICUBIC), int)
  expected = expected.reshape(array.shape)
  assert np.abs(array - expected).max() <= 2


# (mode, size of a picture, size after resizing for training, and for testing),
# with load size 286 and crop size 256; sizes are (width, height).
SIZES = [
  ('resize_and_crop', (300, 200), (286, 286), (256, 256)),
  ('resize_and_crop', (31, 500), (286, 286), (256, 256)),
  ('crop', (300, 260), (300, 260), (300, 260)),
  ('scale_width', (300, 200), (286, 256), (286, 256)),
  ('scale_width', (200, 300), (286, 429), (286, 429)),
  ('scale_width', (286, 99), (286, 256), (286, 256)),
  ('scale_width', (300, 280), (286, 266), (286, 266)),
  ('scale_width_and_crop', (300, 200), (286, 256), (256, 256)),
  ('scale_width_and_crop', (300, 400), (286, 381), (256, 341)),
  ('scale_shortside', (300, 200), (429, 286), (429, 286)),
  ('scale_shortside', (150, 200), (286, 381), (286, 381)),
  ('none', (301, 203), (301, 203), (301, 203)),
]


def test_all_modes_are_tested():
  assert {case[0] for case in SIZES} == set(MODES)


@pytest.mark.parametrize('mode, size, train, test', SIZES)
def test_sizes_of_all_modes_are_official(mode, size, train, test):
  prepare = preprocess(mode, load_size=286, crop_size=256, flip=True)
  assert prepare.train_size(*size) == train
  assert prepare.test_size(*size) == test


@pytest.mark.parametrize(
  'mode, shape, test_shape',
  [
    ('resize_and_crop', (16, 16), (16, 16)),
    ('crop', (16, 16), (16, 16)),
    ('scale_width', (18, 27), (18, 27)),
    ('scale_width_and_crop', (16, 16), (16, 16)),
    ('scale_shortside', (27, 40), (27, 40)),
    ('none', (20, 30), (20, 30)),
  ],
)
def test_images_have_the_shapes_of_their_mode(mode, shape, test_shape):
  prepare = preprocess(mode, load_size=27, crop_size=16, flip=True)
  pictures = [picture(name, 30, 20) for name in 'pq']
  batch = next(batches(pictures, prepare))
  assert batch['a'].shape == batch['b'].shape == (2, *shape, 3)
  image = reader.load_test_image(pictures[0], prepare, 3)
  assert image.shape == (*test_shape, 3)


CROPS_THE_LOADED = ['resize_and_crop', 'scale_width_and_crop']


@pytest.mark.parametrize('mode', CROPS_THE_LOADED)
def test_a_crop_larger_than_the_load_size_is_refused(mode):
  with pytest.raises(UserError) as error:
    preprocess(mode, load_size=200, crop_size=201, flip=True)
  assert 'data.crop_size=201' in str(error.value)
  assert 'data.load_size=200' in str(error.value)
  preprocess(mode, load_size=200, crop_size=200, flip=True)


@pytest.mark.parametrize(
  'mode', ['crop', 'scale_width', 'scale_shortside', 'none']
)
def test_a_crop_may_exceed_a_load_size_that_is_not_cropped(mode):
  prepare = preprocess(mode, load_size=200, crop_size=201, flip=False)
  assert prepare == Preprocess(mode, 200, 201, False)


@pytest.mark.parametrize('mode', CROPS_THE_LOADED)
def test_a_load_size_in_decay_below_the_crop_is_refused(mode):
  prepare = preprocess(mode, load_size=286, crop_size=256, flip=True)
  for size in (0, 256, 300):
    check_in_decay(prepare, size)
  option = 'data.load_size_in_decay'
  for size in (255, -1):
    with pytest.raises(UserError) as error:
      check_in_decay(prepare, size)
    message = str(error.value)
    assert f'data.crop_size=256 is larger than {option}={size}' in message
    assert message.endswith(f'--config.{option}=256 or more')


@pytest.mark.parametrize('mode', sorted(MODES.keys() - CROPS_THE_LOADED))
def test_a_load_size_in_decay_is_refused_for_other_modes(mode):
  """Otherwise images would change their size in the middle of a run."""
  prepare = preprocess(mode, load_size=286, crop_size=256, flip=True)
  check_in_decay(prepare, 0)
  with pytest.raises(UserError) as error:
    check_in_decay(prepare, 256)
  message = str(error.value)
  assert message.startswith(
    'data.load_size_in_decay=256 needs a mode that crops'
  )
  assert f'data.preprocess={mode} does not' in message
  assert message.endswith('use --config.data.load_size_in_decay=0')
  assert '\n' not in message


def test_sizes_below_one_are_refused():
  with pytest.raises(UserError, match='data.load_size=0'):
    preprocess('scale_width', load_size=0, crop_size=8, flip=True)
  with pytest.raises(UserError, match='data.crop_size=-1'):
    preprocess('crop', load_size=8, crop_size=-1, flip=True)


def test_an_unknown_mode_lists_the_modes():
  with pytest.raises(UserError) as error:
    preprocess('resize_and_crops', 286, 256, True)
  message = str(error.value)
  assert "data.preprocess='resize_and_crops'" in message
  assert "did you mean 'resize_and_crop'" in message
  assert all(mode in message for mode in MODES)


@pytest.mark.parametrize('size', [(15, 40), (40, 15)])
def test_a_picture_smaller_than_the_crop_is_named(size):
  prepare = preprocess('crop', load_size=16, crop_size=16, flip=True)
  small = picture('small.png', *size)
  with pytest.raises(UserError) as error:
    next(batches([small], prepare))
  message = str(error.value)
  assert 'small.png' in message
  assert f'{size[0]}x{size[1]}' in message
  assert 'data.crop_size=16' in message
  assert next(batches([picture('fits.png', 16, 16)], prepare))


def test_mixed_sizes_without_a_crop_are_refused():
  prepare = preprocess('none', load_size=16, crop_size=16, flip=True)
  pictures = [picture(f'{i}.png', 24, 20) for i in range(4)]
  assert next(batches(pictures, prepare, batch_size=4))['a'].shape[0] == 4
  pictures += [picture('other.png', 20, 24)]
  steps = batches(pictures, prepare, batch_size=1)
  with pytest.raises(UserError) as error:
    for _ in range(5):
      next(steps)
  message = str(error.value)
  assert any(message.startswith(p.name + ': ') for p in pictures)
  assert '24x20' in message and '20x24' in message
  assert 'data.preprocess=none' in message


def test_mixed_sizes_after_scaling_are_refused():
  prepare = preprocess('scale_width', load_size=16, crop_size=16, flip=True)
  alike = [picture('1.png', 20, 30), picture('2.png', 40, 60)]
  shape = next(batches(alike, prepare))['a'].shape
  assert shape == (2, 24, 16, 3)
  with pytest.raises(UserError, match='data.preprocess=scale_width'):
    next(batches([alike[0], picture('3.png', 20, 40)], prepare))
