"""Table of all metrics by name; a new metric is a new line in `METRICS`."""

from collections.abc import Sequence

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.metrics import makers, pixels
from cyclegan_jax.metrics.base import Metric, Needs

# name -> maker: a function (name, `Needs`) -> [`Metric`]
METRICS = {
  'l1': makers.pairs('L1', 'low', makers.one_by_one(pixels.l1)),
  'psnr': makers.pairs('PSNR', 'high', makers.one_by_one(pixels.psnr)),
  'ssim': makers.pairs('SSIM', 'high', makers.one_by_one(pixels.ssim)),
  'dice': makers.pairs('Dice', 'high', makers.one_by_one(pixels.dice)),
  'lpips': makers.lpips('LPIPS', 'alexnet'),
  'lpips_vgg': makers.lpips('LPIPS (VGG)', 'vgg16'),
  'fid': makers.frechet('FID', makers.inception),
  'kid': makers.kernel('KID', makers.inception),
  'fd_vgg': makers.frechet('FD (VGG)', makers.embedding('vgg16', 512)),
  'kd_vgg': makers.kernel('KD (VGG)', makers.embedding('vgg16', 512)),
  'fd_alex': makers.frechet('FD (AlexNet)', makers.embedding('alexnet', 256)),
  'kd_alex': makers.kernel('KD (AlexNet)', makers.embedding('alexnet', 256)),
  'fcn': makers.fcn,
  'palette': makers.palette,
}


def names(text: str) -> list[str]:
  """Splits a text such as 'l1,ssim' into names, without repetitions.

  Args:
    text: names of metrics, separated by commas or spaces.

  Returns:
    The names in their order.
  """
  return list(dict.fromkeys(text.replace(',', ' ').split()))


def make(names: Sequence[str], needs: Needs) -> list[Metric]:
  """Makes the metrics of some names.

  Args:
    names: keys of `METRICS`.
    needs: the `Needs` to make the metrics from.

  Returns:
    A list of `Metric` in the order of `names`; 'fcn' adds one per direction.

  Raises:
    UserError: `names` is empty, a name is unknown, or a setting or package that
      a metric needs is missing.
  """
  if not names:
    raise UserError(
      f'{needs.prefix}metrics is empty: choose from {", ".join(METRICS)}'
    )
  wanted = [
    (name, lookup(METRICS, name, f'{needs.prefix}metrics')) for name in names
  ]
  return [metric for name, maker in wanted for metric in maker(name, needs)]
