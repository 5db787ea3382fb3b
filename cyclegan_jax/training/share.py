"""Gradients over a device's share of a batch, in parts to save memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from cyclegan_jax.training import parallel


class Share(NamedTuple):
  """Settings for the computation over a device's share of the batch.

  `gradients` computes gradients, `samples` only the translations.

  Attributes:
    parts: number of parts of the share, which are processed one after the
      other.
    platform: name of the platform that the step is compiled for; None for the
      default backend.
  """

  parts: int
  platform: str | None

  def gradients(self, loss, params, groups, batch, key, axis):
    """Computes the gradients of a loss with respect to groups of networks.

    Args:
      loss: (params, batch, key) -> (loss, (samples, metrics)).
      params: {group: params} of all networks.
      groups: names of the groups to differentiate with respect to.
      batch: a pytree of arrays, this device's share of the batch.
      key: a random key.
      axis: name of the mapped device axis, or None.

    Returns:
      (samples, ({group: gradients}, metrics)): the samples of this device's
      share; the gradients and metrics are means over the batch of all devices.
    """
    mine = parallel.varying(params, axis)

    def part(batch, key):
      def of_groups(networks):
        return loss(mine | networks, batch, key)

      (_, (samples, metrics)), grads = jax.value_and_grad(
        of_groups, has_aux=True
      )({group: mine[group] for group in groups})
      return samples, (grads, metrics)

    samples, means = self._in_parts(part, batch, key, axis)
    # In one call, so that the devices communicate once per update.
    return samples, parallel.mean(means, axis)

  def samples(self, method, params, batch, key, axis):
    """Returns the samples of `Method.generate` for this device's share.

    Args:
      method: a `Method` that has `generate`.
      params: {group: params} of all networks.
      batch: {'a', 'b'}, this device's share of the batch.
      key: a random key.
      axis: name of the mapped device axis, or None.
    """

    def part(batch, key):
      return method.generate(params, batch, key, axis)['samples'], {}

    return self._in_parts(part, batch, key, axis)[0]

  def _in_parts(self, loss, batch, key, axis):
    """Calls `loss` on each part of the batch.

    Args:
      loss: (batch, key) -> (samples, values).
      batch: a pytree of arrays, this device's share of the batch.
      key: a random key, which is split for the parts.
      axis: name of the mapped device axis, or None.

    Returns:
      The samples of all parts, joined; the means of the values over the parts.
    """
    parts = self.parts
    if parts == 1:
      return loss(batch, key)
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)
    inputs = (split, part_keys(key, parts))

    def one(sums, part):
      samples, values = loss(*part)
      return jax.tree.map(jnp.add, sums, values), samples

    shapes = jax.eval_shape(
      lambda *part: loss(*part)[1], *jax.tree.map(lambda x: x[0], inputs)
    )
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    sums, samples = parallel.scan(
      one, parallel.varying(zeros, axis), inputs, self.platform
    )
    samples = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), samples)
    return samples, jax.tree.map(lambda x: x / parts, sums)


def part_keys(key: PRNGKeyArray, parts: int) -> PRNGKeyArray:
  """Splits a random key into one key for each part of a batch.

  Args:
    key: the random key.
    parts: number of parts.

  Returns:
    Keys with leading dimension `parts`.
  """
  return jax.random.split(key, parts)
