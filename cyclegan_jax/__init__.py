"""CycleGAN in JAX. `load_model` reads a trained or imported model."""

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
  """Reads a trained or imported model, ready to translate images.

      model = load_model('runs/satellite2map')
      fake = model.translate(images, 'a2b')

  `cyclegan_jax.inference.model.Model.translate` describes the images.

  Args:
    path: a run folder, a model folder, an official .pth file or a folder of
      .pth files, or hf://USER/NAME of the Hugging Face Hub.
    step: step of a checkpoint of the run, or epoch of the official files; None
      for the newest.
    batch_norm: 'picture' or 'average': batch norm uses the statistics of each
      picture, or the running averages of an official file.

  Returns:
    The `cyclegan_jax.inference.model.Model`.

  Raises:
    UserError: the path is missing or holds no model that can be read.
  """
  # Imported here, because some modules of this package do not need JAX.
  from cyclegan_jax.inference import saved

  return saved.load(path, step, batch_norm)
