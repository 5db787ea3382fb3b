"""The methods by name. A new one is a file here and a line in `METHODS`."""

from cyclegan_jax.methods.cyclegan import cyclegan

# name -> (generator, discriminator, channels, adversarial, weights) -> Method
METHODS = {'cyclegan': cyclegan}
