"""Frechet and kernel distance of two sets of features, in float64."""

import numpy as np

from cyclegan_jax.common.errors import UserError


def frechet(x, y):
  """Returns the Frechet distance of Gaussians fitted to two sets of features.

  The distance is `|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2))` with
  means m and covariances C; for Inception features it is the FID (Heusel et al.
  2017). With `A'A = C_x` and `B'B = C_y`, the trace of the root is the sum of
  the singular values of `AB'`. No root of a possibly singular matrix is taken,
  so precision does not suffer if there are fewer pictures than features. The
  estimate is biased: it shrinks as the sets grow.

  Args:
    x: features of the first set, [n, d].
    y: features of the second set, [m, d].

  Returns:
    The distance, a float of at least 0; lower means closer.

  Raises:
    UserError: a set has fewer than 2 rows.
  """
  x, y = _checked(x, y)
  mean = ((x.mean(0) - y.mean(0)) ** 2).sum()
  a, b = _root(x), _root(y)
  shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
  return max(0.0, float(mean + (a**2).sum() + (b**2).sum() - 2 * shared))


def kernel(x, y, subsets=100, subset_size=1000, seed=0):
  """Returns the kernel distance of two sets of features and its 95% interval.

  The distance is the unbiased estimate of the squared maximum mean discrepancy
  under the kernel `(x y' / d + 1)^3`, averaged over random subsets (Binkowski
  et al. 2018); for Inception features it is the KID. If the larger set has at
  most `subset_size` rows, the distance is computed once from the whole sets.

  The interval estimates the distance of infinitely many pictures. It is
  computed from subsets of at most half of each set: their deviations from
  their mean are scaled to the variance of the returned distance. For two sets
  that hardly differ, the interval is wider than necessary.

  Args:
    x: features of the first set, [n, d].
    y: features of the second set, [m, d].
    subsets: number of random subsets.
    subset_size: rows of a subset of the larger set; a subset of the smaller set
      has the same share of its rows.
    seed: seed of the random subsets.

  Returns:
    (distance, low, high), three floats. The distance can be negative. `low` and
    `high` bound the 95% interval; both are nan if a set has fewer than 4 rows.

  Raises:
    UserError: a set has fewer than 2 rows.
  """
  x, y = _checked(x, y)
  larger, smaller = max(len(x), len(y)), min(len(x), len(y))
  share = min(0.5, subset_size / larger)
  rng = np.random.default_rng(seed)
  estimates = [
    _discrepancy(_drawn(rng, x, share), _drawn(rng, y, share))
    for _ in range(subsets)
  ]
  whole = larger <= subset_size
  mean = _discrepancy(x, y) if whole else float(np.mean(estimates))
  if smaller < 4:
    return mean, np.nan, np.nan
  # The mean of a share of all numbers, drawn without replacement, has a
  # variance (1 - share) / share times as large as the mean of all numbers. A
  # mean over random subsets adds the variance of the draw.
  scale = share / (1 - share) + (0 if whole else 1 / subsets)
  deviations = (estimates - np.mean(estimates)) * np.sqrt(scale)
  low, high = np.quantile(deviations, [0.025, 0.975])
  return mean, mean + float(low), mean + float(high)


def _checked(x, y):
  """Returns both sets as float64; raises `UserError` below 2 rows."""
  if min(len(x), len(y)) < 2:
    raise UserError(
      f'the distance of two sets needs at least 2 pictures in each, not '
      f'{len(x)} and {len(y)}: add test pictures'
    )
  return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _root(x):
  """Returns A [at most d, d], where A'A is the covariance of x [n, d]."""
  root = (x - x.mean(0)) / np.sqrt(len(x) - 1)
  return np.linalg.qr(root, mode='r') if len(x) > x.shape[1] else root


def _drawn(rng, x, share):
  """Returns a random share of the rows of x [n, d], at least 2 rows."""
  size = max(2, round(share * len(x)))
  return x[rng.choice(len(x), size, replace=False)]


def _discrepancy(x, y):
  """Returns the unbiased estimate of `kernel` for all rows of x and y."""
  within = sum(
    (values.sum() - np.trace(values)) / (len(values) * (len(values) - 1))
    for values in (_kernel(x, x), _kernel(y, y))
  )
  return float(within - 2 * _kernel(x, y).mean())


def _kernel(x, y):
  """Returns the kernel [n, m] of each row of x [n, d] and y [m, d]."""
  return (x @ y.T / x.shape[1] + 1) ** 3
