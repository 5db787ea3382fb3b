"""Imports TensorFlow without its log output and without accelerators.

The import takes seconds. Other modules therefore import this module only inside
the functions that need TensorFlow: the input pipeline, TFDS, and the SavedModel
and TFLite formats.
"""

import contextlib
import os
import warnings

from cyclegan_jax.common.quiet import silent_stderr

# JAX sets this variable to '1' on import if the user has not set it. At that
# level TensorFlow would print each exception of a reader with its stack trace,
# in addition to the one-line message of this package.
if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '1') == '1':
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
warnings.filterwarnings('ignore', module='tensorflow')
with silent_stderr():
  import tensorflow as tf

  # JAX needs all memory of an accelerator. RuntimeError: the program has used
  # TensorFlow before, so its devices are already initialised.
  with contextlib.suppress(RuntimeError):
    tf.config.set_visible_devices([], 'GPU')
  tf.constant(0)  # starts TensorFlow's runtime while its output is hidden

__all__ = ['call_module', 'tf']


def call_module(tensors, **attributes):
  """Runs a StableHLO program as a TensorFlow operation.

  Args:
    tensors: list of the input tensors of the program.
    **attributes: attributes of TensorFlow's raw operation XlaCallModule.
      `module` (the serialised program), `Tout` (output types) and `Sout`
      (output shapes) are required.

  Returns:
    The list of output tensors.
  """
  from tensorflow.compiler.tf2xla.python import xla

  return xla.call_module(tensors, **attributes)
