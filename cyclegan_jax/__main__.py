"""`python -m cyclegan_jax` is the same as `cyclegan-jax`."""

import sys

from cyclegan_jax.config import command

sys.exit(command.console())
