"""Tests of Frechet and kernel distances against closed forms and loops."""

import numpy as np
import pytest

from cyclegan_jax.common.errors import UserError
from cyclegan_jax.metrics.distances import frechet, kernel


def with_moments(rng, count, mean, covariance):
  """Random features with exactly the given sample mean and covariance."""
  x = rng.normal(size=(count, len(mean)))
  x -= x.mean(0)
  whiten = np.linalg.inv(np.linalg.cholesky(np.cov(x.T)))
  return x @ whiten.T @ np.linalg.cholesky(covariance).T + mean


def signs(rng, count, probability):
  """Random features [count, 1] of 1 or -1."""
  return np.where(rng.random((count, 1)) < probability, 1.0, -1.0)


def sign_distance(p, q):
  """Squared MMD of `signs`, for which the kernel (xy + 1)^3 is 4 (1 + xy)."""
  return 4 * (2 * p - 2 * q) ** 2


def test_frechet_of_commuting_gaussians_equals_the_closed_form(rng):
  """The distance is |m1 - m2|^2 + sum of (s1 - s2)^2 over the shared axes."""
  turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
  s1, s2 = np.array([1.0, 2.0, 0.5]), np.array([3.0, 0.25, 0.5])
  m1, m2 = np.zeros(3), np.array([1.0, -2.0, 0.5])
  x = with_moments(rng, 20, m1, turn * s1**2 @ turn.T)
  y = with_moments(rng, 30, m2, turn * s2**2 @ turn.T)
  expected = 5.25 + ((s1 - s2) ** 2).sum()
  assert frechet(x, y) == pytest.approx(expected, rel=1e-10)


def test_frechet_of_other_gaussians_equals_the_closed_form(rng):
  """In two dimensions tr((C1 C2)^(1/2)) = (tr C1 C2 + 2 (det C1 C2)^.5)^.5."""
  c1 = np.array([[2.0, 0.9], [0.9, 1.0]])
  c2 = np.array([[0.5, -0.3], [-0.3, 3.0]])
  both = c1 @ c2
  root = np.sqrt(np.trace(both) + 2 * np.sqrt(np.linalg.det(both)))
  expected = np.trace(c1 + c2) - 2 * root
  x, y = (with_moments(rng, 9, np.ones(2), c) for c in (c1, c2))
  assert frechet(x, y) == pytest.approx(expected, rel=1e-10)


def test_frechet_works_with_fewer_pictures_than_features(rng):
  """Dimensions of constant features do not change the distance."""
  x, y = rng.normal(size=(40, 6)), rng.normal(size=(30, 6)) * 2 + 1
  wide, _ = np.linalg.qr(rng.normal(size=(500, 6)))
  expected = frechet(x, y)
  assert frechet(x @ wide.T, y @ wide.T) == pytest.approx(expected, rel=1e-10)
  few = rng.normal(size=(10, 500))
  assert frechet(few, few[::-1]) == pytest.approx(0, abs=1e-9)
  assert frechet(few, few + 2) == pytest.approx(4 * 500, rel=1e-12)


def test_frechet_keeps_precision_far_from_zero(rng):
  """The float32 features have a mean much larger than their deviation."""
  x, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) + 0.5
  far = (np.float32(x) + np.float32(1000), np.float32(y) + np.float32(1000))
  assert frechet(*far) == pytest.approx(frechet(x, y), rel=1e-3)


@pytest.mark.filterwarnings('ignore:The `disp` argument:DeprecationWarning')
@pytest.mark.parametrize('features', [5, 60])
def test_frechet_equals_pytorch_fid(features, rng):
  score = pytest.importorskip('pytorch_fid.fid_score')
  x = rng.normal(size=(80, features))
  y = rng.normal(size=(90, features)) @ rng.normal(size=(features, features))
  moments = [z for s in (x, y) for z in (s.mean(0), np.cov(s, rowvar=False))]
  expected = score.calculate_frechet_distance(*moments)
  assert frechet(x, y) == pytest.approx(expected, rel=1e-6)


def test_kernel_equals_a_double_loop(rng):
  x, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)) + 1

  def k(a, b):
    return (float(a @ b) / 3 + 1) ** 3

  xx = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
  yy = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
  xy = [k(a, b) for a in x for b in y]
  expected = np.mean(xx) + np.mean(yy) - 2 * np.mean(xy)
  assert kernel(x, y, subsets=2)[0] == pytest.approx(expected, rel=1e-12)


def test_kernel_is_unbiased_with_a_valid_interval(rng):
  p, q, repeats = 0.2, 0.7, 300
  results = []
  for seed in range(repeats):
    x, y = signs(rng, 50, p), signs(rng, 40, q)
    results.append(kernel(x, y, subsets=60, seed=seed))
  means, low, high = np.array(results).T
  expected = sign_distance(p, q)
  error = means.std() / np.sqrt(repeats)
  assert abs(means.mean() - expected) < 4 * error < 0.1 * expected
  covered = np.mean((low <= expected) & (expected <= high))
  assert 0.85 < covered < 0.99


def test_kernel_of_equal_distributions_is_zero_on_average(rng):
  results = np.array(
    [
      kernel(signs(rng, 30, 0.5), signs(rng, 30, 0.5), subsets=40)
      for _ in range(200)
    ]
  )
  means = results[:, 0]
  assert abs(means.mean()) < 4 * means.std() / np.sqrt(200)
  assert means.min() < 0 < means.max()
  assert np.mean((results[:, 1] <= 0) & (results[:, 2] >= 0)) > 0.9


def test_kernel_of_subsets_estimates_the_kernel_of_all(rng):
  """Large sets are split into subsets; larger sets give narrower intervals."""
  x, y = signs(rng, 800, 0.3), signs(rng, 600, 0.6)
  whole, *bounds = kernel(x, y, subsets=50, subset_size=800)
  parts, low, high = kernel(x, y, subsets=400, subset_size=80)
  few = kernel(x[:80], y[:60], subsets=100, subset_size=80)
  assert parts == pytest.approx(whole, rel=0.1)
  assert low < parts < high
  width = bounds[1] - bounds[0]
  assert width == pytest.approx(high - low, rel=0.4)
  # 10 times as many features: an interval about 3 times as narrow.
  assert 1.5 < (few[2] - few[1]) / width < 6


def test_kernel_depends_only_on_its_seed(rng):
  x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
  first = kernel(x, y, subsets=20, subset_size=30, seed=3)
  assert first == kernel(x, y, subsets=20, subset_size=30, seed=3)
  assert first != kernel(x, y, subsets=20, subset_size=30, seed=4)


def test_too_few_pictures_are_refused(rng):
  x = rng.normal(size=(5, 2))
  for measure in (frechet, kernel):
    with pytest.raises(UserError, match='at least 2'):
      measure(x[:1], x)
  mean, low, high = kernel(x[:3], x)
  assert np.isfinite(mean) and np.isnan([low, high]).all()
