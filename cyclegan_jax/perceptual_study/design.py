"""The numbers of a study, and the algorithms that it compares."""

from typing import NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, choose

PROTOCOLS = ('cyclegan', 'pix2pix')
# Milliseconds of the parts of a trial, as in AMT_Real_vs_Fake, the page by
# which the paper's participants were asked.
MILLISECONDS = {
  'before': 900,
  'first': 1000,
  'between': 600,
  'second': 1000,
  'feedback': 2400,
}


class Design(NamedTuple):
  """The numbers of a study; the defaults are the paper's (Sec. 5.1.1).

  Attributes:
    protocol: of `PROTOCOLS`: people say which picture is real ('cyclegan'), or
      which is fake ('pix2pix').
    practice: trials with feedback, before the others.
    trials: trials without feedback, which count.
    seed: decides the pairs of pictures, with the participant.
    size: longest side of a picture on the screen, in CSS pixels.
    same_place: whether the real picture of a pair is the true translation of
      the picture that the fake one was made of.
  """

  protocol: str = 'cyclegan'
  practice: int = 10
  trials: int = 40
  seed: int = 0
  size: int = 256
  same_place: bool = False

  def check(self) -> None:
    """Raises `UserError` for a value that no study can have."""
    choose(PROTOCOLS, self.protocol, '--protocol')
    least = {'practice': 0, 'trials': 1, 'seed': 0, 'size': 16}
    for name, value in least.items():
      if getattr(self, name) < value:
        raise UserError(
          f'--{name}={getattr(self, name)} must be at least {value}'
        )

  def pairing(self, paired: bool) -> str:
    """The pictures that may be in a trial together.

    Args:
      paired: whether the test pictures are true pairs.

    Returns:
      'same' or 'different' place; 'any' where places are not known.

    Raises:
      UserError: `same_place`, and there are no pairs.
    """
    if self.same_place and not paired:
      raise UserError(
        '--same-place: the test pictures are not true pairs: leave it out'
      )
    if self.same_place:
      return 'same'
    return 'different' if paired else 'any'

  def shortage(self, count: int, pairing: str) -> str:
    """Compares the pictures that a session needs with those there are.

    Args:
      count: real and generated pictures to choose from, the smaller number.
      pairing: as `pairing` returns it.

    Returns:
      A note on pictures that are shown twice, or ''.

    Raises:
      UserError: there are too few for trials without repeated pictures.
    """
    least = max(self.trials, 2 if pairing == 'different' else 1)
    if count < least:
      most = f'give --trials={count}' if count >= 2 else 'add test pictures'
      raise UserError(
        f'--trials={self.trials}: these show {least} real pictures and as many '
        f'generated ones, and there are {count}: {most}'
      )
    if count < self.trials + self.practice:
      return (
        f'{count} pictures for {self.practice} practice trials and '
        f'{self.trials} others: pictures of the practice come again in the '
        'others'
      )
    return ''


def algorithms(text: str) -> dict[str, str]:
  """{name: path} of the value of --models, `~` expanded.

  Raises:
    UserError: it is no list of NAME=PATH, or a name is given twice.
  """
  found: dict[str, str] = {}
  for part in text.split(','):
    name, equals, path = (x.strip() for x in part.partition('='))
    if not (name and equals and path):
      raise UserError(
        f'--models={text}: {part!r} is no NAME=PATH: give each algorithm a '
        'name, and put commas between them'
      )
    if name in found:
      raise UserError(f'--models={text}: {name!r} is given twice')
    try:
      found[name] = files.expanded(path)
    except UserError as e:
      raise UserError(f'--models={name}={e}') from e
  return found
