"""CycleGAN in JAX. `load_model` reads what was trained or imported."""


def load_model(path, step=None, batch_norm='picture'):
  """Reads a model to translate pictures with.

      model = load_model('runs/satellite2map')
      fake = model.translate(images, 'a2b')

  See `cyclegan_jax.inference.model.load` for the arguments and
  `cyclegan_jax.inference.model.Model.translate` for the images.
  """
  # Imported here: the modules of this package need not all load JAX.
  from cyclegan_jax.inference import model

  return model.load(path, step, batch_norm)
