"""Metrics and the test table, against numbers computed by hand."""

import numpy as np
import pytest

from cyclegan_jax import evaluation, images
from cyclegan_jax.data.decode import Picture
from cyclegan_jax.data.sources import Labels
from cyclegan_jax.metrics import PAIRED_METRICS, pixel_accuracy


def flat(value, size=16):
  return np.full((size, size, 3), value, np.float32)


def test_l1_and_psnr():
  assert PAIRED_METRICS['L1'](flat(0.5), flat(0.0)) == 0.5
  # 10 log10(range^2 / mse) = 10 log10(4 / 0.01)
  assert PAIRED_METRICS['PSNR'](flat(0.1), flat(0.0)) == pytest.approx(
    26.0206, abs=1e-3
  )


def test_psnr_of_equal_images_is_finite():
  assert PAIRED_METRICS['PSNR'](flat(0.1), flat(0.1)) == 100.0


def test_ssim(rng):
  image = rng.uniform(-1, 1, (16, 16, 3)).astype(np.float32)
  ssim = PAIRED_METRICS['SSIM']
  assert ssim(image, image) == pytest.approx(1.0)
  # Constants: (2 x y + c1) / (x^2 + y^2 + c1), c1 = (0.01 * 2)^2.
  assert ssim(flat(0.5), flat(0.25)) == pytest.approx(
    (0.25 + 4e-4) / (0.3125 + 4e-4), rel=1e-3
  )
  assert abs(ssim(image, image[::-1, ::-1])) < 0.3
  assert ssim(image[:9, :8], image[:9, :8]) == pytest.approx(1.0)


def test_pixel_accuracy_takes_the_nearest_colour_of_any_class():
  colours = [[[0, 0, 255], [0, 0, 100]], [[0, 255, 0]]]
  image = np.array([[[0, 0, 90], [0, 200, 30], [0, 0, 240], [255, 0, 0]]])
  labels = np.array([[0, 1, 1, 255]])
  assert pixel_accuracy(image / 127.5 - 1, labels, colours) == (2, 3)


def test_table(tmp_path):
  labels = np.zeros((16, 16), np.uint8)
  labels[:, 8:] = 1
  pictures = []
  for i in range(2):
    path = tmp_path / f'{i}.png'
    images.Image.fromarray(labels).save(path)
    pictures.append(Picture(str(path), path))
  # Class 0 is black, class 1 white.
  truth = np.where(labels[..., None] == 1, 1.0, -1.0) * flat(1.0)
  tests = {'a': [flat(0.0), flat(0.0)], 'b': [truth, -truth]}
  rows = evaluation.paired_table(
    lambda image, direction: image + 1.0,
    tests,
    ('a2b',),
    Labels(pictures, ['black', 'white'], [[[0, 0, 0]], [[255, 255, 255]]]),
  )
  by_name = {row['candidate']: row for row in rows}
  assert by_name['translated']['L1'] == 1.0  # all white: half right
  assert by_name['translated']['pixel accuracy'] == 0.5
  assert by_name['copy the input']['L1'] == 1.0
  assert by_name['another picture']['L1'] == 2.0
  assert by_name['true pair']['pixel accuracy'] == 0.5
  table = evaluation.markdown(rows).splitlines()
  assert len({len(line) for line in table}) == 1 and len(table) == 6


def test_grid_shows_what_it_is_given():
  small, large = flat(-1.0, 4), flat(1.0, 200)
  picture = images.grid([[small, large]])
  assert picture.shape == (200, 128 + 2 + 200, 3)
  assert picture[:128, :128].max() == 0 and picture[128:, :128].min() == 255


def test_to_uint8_rounds_and_clips():
  values = np.array([-1.5, -1.0, 0.0, 0.999, 2.0]).reshape(1, 5, 1)
  shown = images.to_uint8(values)
  assert shown.shape == (1, 5, 3)
  assert shown[0, :, 0].tolist() == [0, 0, 128, 255, 255]
