"""The two directions of translation between the domains a and b."""

DIRECTIONS = ('a2b', 'b2a')


def opposite(direction: str) -> str:
  """Returns the direction back: 'b2a' for 'a2b', 'a2b' for 'b2a'."""
  return direction[::-1]
