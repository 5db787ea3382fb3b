"""A device's share of a batch: gradients over it, in parts to save memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from cyclegan_jax.training import parallel


class Share(NamedTuple):
  """The way that a device goes through its share of the batch.

  Attributes:
    parts: number of parts, taken one after the other.
    platform: what the step is compiled for.
  """

  parts: int
  platform: str | None

  def gradients(self, loss, params, groups, batch, key, axis):
    """Gradients of a loss with respect to some groups of networks.

    Returns:
      The samples of this device's batch; {group: gradients} and the metrics,
      means over the whole batch.
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
    # In one go: the devices meet once an update.
    return samples, parallel.mean(means, axis)

  def samples(self, method, params, batch, key, axis):
    """The samples of `Method.generate`, of this device's batch."""

    def part(batch, key):
      return method.generate(params, batch, key, axis)['samples'], {}

    return self._in_parts(part, batch, key, axis)[0]

  def _in_parts(self, loss, batch, key, axis):
    """loss(batch, key) -> (samples, values), a part of the batch at a time.

    Returns:
      The samples of the whole batch, the means of the values.
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
  """The random key of each part of a batch."""
  return jax.random.split(key, parts)
