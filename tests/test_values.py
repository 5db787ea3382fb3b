"""Tests of value ranges: texts of data.range_a, values to images and back."""

import numpy as np
import pytest

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.data.values import Values, asked, parse, recorded


def image(levels):
  return levels / 127.5 - 1


@pytest.mark.parametrize(
  'text, channels, low, high, dtype',
  [
    ('auto', 3, (), (), ''),
    ('auto=uint16', 3, (), (), 'uint16'),
    ('-1000,400', 1, (-1000,), (400,), ''),
    ('0,1;2,4', 2, (0, 2), (1, 4), ''),
    ('percentile:1,99', 2, (), (), ''),
    ('percentile:1,99=int16:-90,1200', 1, (-90,), (1200,), 'int16'),
    ('-1,2.5e3=float32:-1,2500', 4, (-1,), (2500,), 'float32'),
  ],
)
def test_texts_of_ranges_are_parsed(text, channels, low, high, dtype):
  values = parse(text, channels, 'data.range_b')
  assert values == Values(channels, low, high, dtype, 'data.range_b')
  assert asked(text) == text.partition('=')[0]


@pytest.mark.parametrize(
  'text',
  [
    *('', 'full', '1', '1,2,3', '2,1', '1,1', '0,inf', 'nan,1', '0,1;2'),
    *('0,1;0,1', 'percentile:', 'percentile:99,1', 'percentile:-1,50'),
    *('auto=text', '0,1=complex64:0,1'),
  ],
)
def test_invalid_texts_are_refused_by_option(text):
  with pytest.raises(UserError, match=r'^data\.range_a='):
    parse(text, 3, 'data.range_a')


def test_recorded_ranges_are_parsed():
  values = Values(2, (-1.5, 0), (2, 1e-3), 'float32')
  text = recorded('percentile:1,99', values)
  assert text == 'percentile:1,99=float32:-1.5,2;0,0.001'
  assert parse(text, 2, values.option) == values
  assert recorded(text, values) == text
  deep = Values(3, dtype='uint16')
  assert parse(recorded('auto', deep), 3, deep.option) == deep


def test_values_are_scaled_to_levels_and_clipped():
  values = Values(2, (-10, 0), (10, 1))
  array = np.array([[-10, 0], [0, 0.5], [10, 1], [99, -1], [np.nan, 2]])
  levels = values.levels(array, array.dtype)
  np.testing.assert_allclose(
    levels, [[0, 0], [127.5, 127.5], [255, 255], [255, 0], [0, 255]]
  )
  assert levels.dtype == np.float32
  assert values.outside(array, array.dtype) == 4


@pytest.mark.parametrize('dtype', ['uint8', 'int8', 'uint16', 'int16', 'bool'])
def test_integers_have_the_range_of_their_type(dtype):
  kind = np.dtype(dtype)
  info = None if dtype == 'bool' else np.iinfo(kind)
  low, high = (info.min, info.max) if info else (0, 1)
  array = np.array([[low], [high]], kind)
  levels = Values(1).levels(array, kind)
  np.testing.assert_allclose(levels, [[0], [255]])


def test_masks_are_restored():
  mask = np.array([[True], [False]])
  back = Values(1, dtype='bool').of_image(
    image(Values(1).levels(mask, mask.dtype))
  )
  np.testing.assert_array_equal(back, mask)
  soft = Values(1, dtype='bool').of_image(np.array([[-0.1], [0.1]]))
  assert soft.tolist() == [[False], [True]]


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
def test_values_are_restored(dtype):
  values = Values(1, (-100,), (30000,), dtype)
  array = np.linspace(0, 255 if dtype == 'uint8' else 29999, 256)[:, None]
  array = array.astype(dtype)
  back = values.of_image(image(values.levels(array, array.dtype)))
  assert back.dtype == dtype
  np.testing.assert_allclose(back, array, atol=0.01 if dtype[0] == 'f' else 0)


def test_values_beyond_the_type_are_clipped():
  values = Values(1, (-100,), (300,), 'uint8')
  assert values.of_image(np.array([[-1.0], [1.0]])).tolist() == [[0], [255]]


def test_floats_need_a_range():
  with pytest.raises(UserError, match=r'--config\.data\.range_b=LOW,HIGH'):
    Values(1, option='data.range_b').range_of(np.dtype(np.float32))
