"""Names the packages; all else is in setup.cfg.

The recipe cards of configs/ are installed as a part of the package, where
`--config=NAME` finds them.
"""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=['cyclegan_jax*']), 'cyclegan_jax.configs'],
  package_dir={'cyclegan_jax.configs': 'configs'},
)
