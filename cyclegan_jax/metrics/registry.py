"""The metrics by name. A new one is a line in `METRICS`."""

from collections.abc import Sequence

from cyclegan_jax.common.errors import UserError, lookup
from cyclegan_jax.metrics import makers, pixels
from cyclegan_jax.metrics.base import Metric, Needs

# name -> (name, `Needs`) -> [`Metric`]
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
  """The names in a text such as 'l1,ssim'."""
  return list(dict.fromkeys(text.replace(',', ' ').split()))


def make(names: Sequence[str], needs: Needs) -> list[Metric]:
  """The metrics of some names.

  Args:
    names: of `METRICS`.
    needs: `Needs`.

  Returns:
    A list of `Metric`, in the order of the names; of 'fcn' one a direction.

  Raises:
    UserError: an unknown name, or one that lacks what it needs.
  """
  if not names:
    raise UserError(
      f'{needs.prefix}metrics is empty: choose from {", ".join(METRICS)}'
    )
  wanted = [
    (name, lookup(METRICS, name, f'{needs.prefix}metrics')) for name in names
  ]
  return [metric for name, maker in wanted for metric in maker(name, needs)]
