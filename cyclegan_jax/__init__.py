"""CycleGAN in JAX. `load_model` reads what was trained or imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from cyclegan_jax.inference.model import Model

__version__ = '0.1.0'


def load_model(
  path: str | os.PathLike[str],
  step: int | None = None,
  batch_norm: str = 'picture',
) -> Model:
  """Reads a model to translate pictures with.

      model = load_model('runs/satellite2map')
      fake = model.translate(images, 'a2b')

  See `cyclegan_jax.inference.saved.load` for the arguments and
  `cyclegan_jax.inference.model.Model.translate` for the images.
  """
  # Imported here: the modules of this package need not all load JAX.
  from cyclegan_jax.inference import saved

  return saved.load(path, step, batch_norm)
