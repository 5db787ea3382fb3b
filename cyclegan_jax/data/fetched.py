"""Contents of pictures that are no files here: fetched when they are read."""

from collections.abc import Callable
from typing import NamedTuple

from cyclegan_jax.common.errors import UserError


class Fetched(NamedTuple):
  """A `Picture.data` whose bytes a function fetches, each time they are read.

  Attributes:
    name: a file's name; an ending of arrays, as in scan.npy, tells how to read
      the bytes. Other formats are told by the bytes themselves.
    fetch: () -> bytes, the contents of the file. Called by several threads; a
      `UserError` of its own is taken for a picture that cannot be used.
  """

  name: str
  fetch: Callable[[], bytes]

  def read_bytes(self) -> bytes:
    """The bytes, as `pathlib.Path.read_bytes` gives them.

    Raises:
      UserError: the function gave something else.
    """
    content = self.fetch()
    if not isinstance(content, bytes):
      raise UserError(
        f'{self.name}: {type(content).__name__} was fetched, and pictures are '
        'read from bytes: return the contents of a file'
      )
    return content
