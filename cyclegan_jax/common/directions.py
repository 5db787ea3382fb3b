"""Names of the two directions of translation between domains A and B."""

DIRECTIONS = ('a2b', 'b2a')


def opposite(direction: str) -> str:
  """Returns the opposite direction: 'b2a' for 'a2b', 'a2b' for 'b2a'."""
  return direction[::-1]
