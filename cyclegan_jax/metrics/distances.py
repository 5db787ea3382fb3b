"""How far two sets of features are from one another, in float64."""

import numpy as np

from cyclegan_jax.common.errors import UserError


def frechet(x, y):
  """Frechet distance of the gaussians fitted to two sets of features.

  |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)), of Inception features the
  FID (Heusel et al. 2017). With A'A = C_x and B'B = C_y, the last trace is the
  sum of the singular values of AB': no root of a matrix that may be singular
  is taken, so that fewer pictures than features do no harm to precision. The
  distance itself stays biased: it shrinks as the sets grow.

  Args:
    x: [n, d].
    y: [m, d].

  Returns:
    The distance, at least 0; lower is closer.

  Raises:
    UserError: a set of fewer than 2.
  """
  x, y = _checked(x, y)
  mean = ((x.mean(0) - y.mean(0)) ** 2).sum()
  a, b = _root(x), _root(y)
  shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
  return max(0.0, float(mean + (a**2).sum() + (b**2).sum() - 2 * shared))


def kernel(x, y, subsets=100, subset_size=1000, seed=0):
  """Kernel distance of two sets of features, of Inception features the KID.

  The unbiased estimate of the squared maximum mean discrepancy under the
  kernel (x y' / d + 1)^3, averaged over random subsets (Binkowski et al.
  2018). Sets no larger than a subset are taken whole.

  The interval says where the distance of infinitely many pictures may be. It
  comes from subsets of at most half a set, whose deviations from their mean are
  scaled to those of what is returned. For sets that hardly differ it is wider
  than it had to be.

  Args:
    x: [n, d].
    y: [m, d].
    subsets: how many to draw.
    subset_size: how many make a subset of the larger set; of the other, the
      same share.
    seed: of the drawing.

  Returns:
    (distance, low, high): the last two bound the 95% interval, and are nan
    for sets of fewer than 4. The distance may be below 0.

  Raises:
    UserError: a set of fewer than 2.
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
  # Drawn without replacement, means of a share of the numbers at hand vary
  # (1 - share) / share times as much as the mean of all does; to that comes how
  # much the mean over subsets depends on the draw.
  scale = share / (1 - share) + (0 if whole else 1 / subsets)
  deviations = (estimates - np.mean(estimates)) * np.sqrt(scale)
  low, high = np.quantile(deviations, [0.025, 0.975])
  return mean, mean + float(low), mean + float(high)


def _checked(x, y):
  if min(len(x), len(y)) < 2:
    raise UserError(
      f'a distance of sets of {len(x)} and {len(y)} pictures: give at least 2 '
      'of each'
    )
  return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _root(x):
  """A [<= d, d] with A'A the covariance of x."""
  root = (x - x.mean(0)) / np.sqrt(len(x) - 1)
  return np.linalg.qr(root, mode='r') if len(x) > x.shape[1] else root


def _drawn(rng, x, share):
  size = max(2, round(share * len(x)))
  return x[rng.choice(len(x), size, replace=False)]


def _discrepancy(x, y):
  """The unbiased estimate for all of x and y."""
  within = sum(
    (values.sum() - np.trace(values)) / (len(values) * (len(values) - 1))
    for values in (_kernel(x, x), _kernel(y, y))
  )
  return float(within - 2 * _kernel(x, y).mean())


def _kernel(x, y):
  return (x @ y.T / x.shape[1] + 1) ** 3
