"""Pictures that are not local files: a function fetches their bytes."""

from collections.abc import Callable
from typing import NamedTuple

from cyclegan_jax.common.errors import UserError


class Fetched(NamedTuple):
  """Contents of a picture file that a function fetches at every read.

  A `Picture.data` may be a `Fetched` instead of a path.

  Attributes:
    name: file name of the picture. The ending of an array format, as in
      scan.npy, selects that format; other formats are recognised by their
      bytes.
    fetch: function without arguments that returns the contents of the file as
      `bytes`. Several threads call it. A `UserError` that it raises means that
      the picture cannot be used.
  """

  name: str
  fetch: Callable[[], bytes]

  def read_bytes(self) -> bytes:
    """Fetches and returns the contents of the file.

    Raises:
      UserError: `fetch` did not return `bytes`.
    """
    content = self.fetch()
    if not isinstance(content, bytes):
      raise UserError(
        f'{self.name}: the fetch function returned {type(content).__name__} '
        'instead of bytes: return the contents of a picture file'
      )
    return content
