"""TensorFlow for the rest of the package: quiet, and off the accelerators.

Importing TensorFlow takes seconds, so modules import this one where they need
it, and only the input pipeline, TFDS, and the SavedModel and TFLite formats do.
"""

import contextlib
import os
import warnings

from cyclegan_jax.common.quiet import silent_stderr

# Importing JAX sets '1' where nothing is set. TensorFlow would print what a
# reader meets, with its stack trace, behind the line that says what to do.
if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1':
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
warnings.filterwarnings('ignore', module='tensorflow')
with silent_stderr():
  import tensorflow as tf

  # JAX needs all of an accelerator's memory. A program that has used
  # TensorFlow before has its devices already.
  with contextlib.suppress(RuntimeError):
    tf.config.set_visible_devices([], 'GPU')
  tf.constant(0)  # starts TensorFlow's runtime, which has its say here

__all__ = ['call_module', 'tf']


def call_module(tensors, **attributes):
  """Runs a StableHLO program; the arguments are those of XlaCallModule."""
  from tensorflow.compiler.tf2xla.python import xla

  return xla.call_module(tensors, **attributes)
