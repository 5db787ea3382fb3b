"""Entry of `python -m cyclegan_jax`, which is the same as `cyclegan-jax`."""

import sys

from cyclegan_jax.config import command

sys.exit(command.console())
