"""Design of a study: its numbers, and the algorithms that are compared."""

from typing import NamedTuple

from cyclegan_jax.common import files
from cyclegan_jax.common.errors import UserError, choose

PROTOCOLS = ('cyclegan', 'pix2pix')
# Milliseconds of the parts of a trial, as in AMT_Real_vs_Fake, the page that
# the paper's participants used.
MILLISECONDS = {
  'before': 900,
  'first': 1000,
  'between': 600,
  'second': 1000,
  'feedback': 2400,
}


class Design(NamedTuple):
  """The numbers of a study; the defaults are the paper's (Sec. 5.1.1).

  `check` checks the numbers, and `shortage` that there are enough pictures.

  Attributes:
    protocol: name in `PROTOCOLS`: people choose the real picture ('cyclegan')
      or the fake picture ('pix2pix').
    practice: number of practice trials, which come first and give feedback.
    trials: number of scored trials, which give no feedback.
    seed: random seed of the trials; the name of the participant is the other
      source of randomness.
    size: longest side of a picture on the screen, in CSS pixels.
    same_place: if True, both pictures of a trial belong to one true pair: the
      fake picture is the translation of the other picture of the pair.
  """

  protocol: str = 'cyclegan'
  practice: int = 10
  trials: int = 40
  seed: int = 0
  size: int = 256
  same_place: bool = False

  def check(self) -> None:
    """Raises `UserError` for an unknown protocol or too small a number."""
    choose(PROTOCOLS, self.protocol, '--protocol')
    least = {'practice': 0, 'trials': 1, 'seed': 0, 'size': 16}
    for name, value in least.items():
      if getattr(self, name) < value:
        raise UserError(
          f'--{name}={getattr(self, name)} must be at least {value}'
        )

  def pairing(self, paired: bool) -> str:
    """Returns the rule by which a real and a fake picture share a trial.

    Args:
      paired: True if the test pictures are true pairs.

    Returns:
      'same': both belong to one true pair; 'different': they belong to
      different true pairs; 'any': the test pictures are not paired.

    Raises:
      UserError: `same_place` is True, but `paired` is False.
    """
    if self.same_place and not paired:
      raise UserError(
        '--same-place: the test pictures are not true pairs: omit this flag'
      )
    if self.same_place:
      return 'same'
    return 'different' if paired else 'any'

  def shortage(self, count: int, pairing: str) -> str:
    """Checks that there are enough pictures for a session.

    Args:
      count: number of available pictures: of the real or of the fake ones,
        whichever are fewer.
      pairing: result of the method `pairing`.

    Returns:
      A note if pictures of practice trials have to be shown again in scored
      trials, or ''.

    Raises:
      UserError: the scored trials would have to repeat pictures.
    """
    least = max(self.trials, 2 if pairing == 'different' else 1)
    if count < least:
      most = f'give --trials={count}' if count >= 2 else 'add test pictures'
      raise UserError(
        f'--trials={self.trials}: {least} real and as many generated pictures '
        f'are needed, and there are only {count}: {most}'
      )
    if count < self.trials + self.practice:
      return (
        f'{count} pictures for {self.practice} practice trials and '
        f'{self.trials} scored trials: some pictures of the practice are shown '
        'again'
      )
    return ''


def algorithms(text: str) -> dict[str, str]:
  """Parses the value of --models.

  Args:
    text: NAME=PATH, several of them separated by commas.

  Returns:
    {name: path}; `~` in a path is expanded.

  Raises:
    UserError: a part is not NAME=PATH, a name is given twice, or `~user` names
      an unknown user.
  """
  found: dict[str, str] = {}
  for part in text.split(','):
    name, equals, path = (x.strip() for x in part.partition('='))
    if not (name and equals and path):
      raise UserError(
        f'--models={text}: {part!r} is not NAME=PATH: give each algorithm a '
        'name, and separate the algorithms by commas'
      )
    if name in found:
      raise UserError(f'--models={text}: {name!r} is given twice')
    try:
      found[name] = files.expanded(path)
    except UserError as e:
      raise UserError(f'--models={name}={e}') from e
  return found
