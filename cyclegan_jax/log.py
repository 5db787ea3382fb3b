"""Where a run's numbers and pictures go: files, TensorBoard, the terminal."""

import json
import time

from clu import metric_writers

from cyclegan_jax.images import save_png


class Log:
  """Writes a run's numbers and pictures below its folder.

  metrics.jsonl has a line a logged step, a function of the training alone;
  tensorboard/ has the same, with speeds and pictures; samples/ the pictures.
  """

  def __init__(self, workdir, start_step):
    """Goes on behind `start_step`; lines of later steps are dropped."""
    self._samples = workdir / 'samples'
    self._board = metric_writers.AsyncWriter(
      metric_writers.SummaryWriter(str(workdir / 'tensorboard'))
    )
    path = workdir / 'metrics.jsonl'
    _keep_until(path, start_step)
    self._lines = path.open('a', buffering=1)

  def numbers(self, step, metrics, speed):
    """Scalars of one step; `speed` goes to TensorBoard alone."""
    metrics = {name: float(metrics[name]) for name in sorted(metrics)}
    self._lines.write(json.dumps({'step': step} | metrics) + '\n')
    self._board.write_scalars(step, metrics | speed)

  def sample(self, step, picture):
    """A uint8 sample grid."""
    save_png(self._samples / f'step_{step:07d}.png', picture)
    self._board.write_images(step, {'samples': picture[None]})

  def close(self):
    self._board.close()
    self._lines.close()


def _keep_until(path, step):
  """Drops the lines behind a step: the run writes them again."""
  if path.exists():
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith('\n')]
    kept = path.with_suffix('.tmp')
    kept.write_text(''.join(x for x in whole if json.loads(x)['step'] <= step))
    kept.replace(path)


class Progress:
  """Speed and remaining time of a run, over the steps since the last look."""

  def __init__(self, start_step, last_step, batch_size):
    self._last_step = last_step
    self._batch_size = batch_size
    self._step, self._time, self._waited = start_step, time.monotonic(), 0.0

  def speed(self, step, waited=0.0):
    """Speeds since the last call.

    Args:
      step: the step it is now.
      waited: seconds spent waiting for input since the start.

    Returns:
      {'seconds_per_step', 'images_per_second', 'input_wait': share of time}.
    """
    now = time.monotonic()
    passed = now - self._time
    seconds = passed / max(1, step - self._step)
    wait = (waited - self._waited) / passed
    self._step, self._time, self._waited = step, now, waited
    return {
      'seconds_per_step': seconds,
      'images_per_second': self._batch_size / seconds,
      'input_wait': wait,
    }

  def line(self, step, metrics, speed):
    """One line for the terminal."""
    seconds = speed['seconds_per_step']
    left = int(seconds * (self._last_step - step))
    eta = f'{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}'
    return (
      f'step {step}/{self._last_step} ({100 * step // self._last_step}%)  '
      f'{seconds:.3f} s/step  ETA {eta}  '
      f'loss_gen {metrics["loss_gen"]:.3f}  '
      f'loss_disc {metrics["loss_disc"]:.3f}'
    )
