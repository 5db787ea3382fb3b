"""Input pipeline of the official code with PyTorch's DataLoader.

The transforms of torchvision are written out with Pillow and PyTorch: the same
operations in the same order, without the checks.
"""

import itertools
import random

import numpy as np
import torch
from PIL import Image


class Unaligned:
  """The official unaligned_dataset with preprocess=resize_and_crop.

  An item {'A', 'B'} contains the picture of A of an index and a random picture
  of B, each as float32 [3, size, size] in [-1, 1].

  Args:
    files_a: list of picture files of A.
    files_b: list of picture files of B.
    load_size: side in pixels that pictures are scaled to.
    size: side of the random crop in pixels.
  """

  def __init__(self, files_a, files_b, load_size, size):
    self.files_a = files_a
    self.files_b = files_b
    self.load_size = load_size
    self.size = size

  def __getitem__(self, index):
    file_b = self.files_b[random.randint(0, len(self.files_b) - 1)]
    return {'A': self._image(self.files_a[index]), 'B': self._image(file_b)}

  def _image(self, file):
    """Reads a file as float32 [3, size, size] in [-1, 1]."""
    image = Image.open(file).convert('RGB')
    image = image.resize([self.load_size] * 2, Image.Resampling.BICUBIC)
    room = self.load_size - self.size + 1
    top = torch.randint(0, room, size=(1,)).item()
    left = torch.randint(0, room, size=(1,)).item()
    image = image.crop((left, top, left + self.size, top + self.size))
    if torch.rand(1) < 0.5:
      image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _normalize(_to_tensor(image))


def _to_tensor(image):
  pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
  return pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def _normalize(image):
  half = torch.full((3, 1, 1), 0.5)
  return image.clone().sub_(half).div_(half)


class _Epochs:
  """Endless sampler: yields the shuffled indices of one epoch after the other.

  One endless iteration does not restart the workers between epochs.
  """

  def __init__(self, count):
    self._count = count

  def __iter__(self):
    for _ in itertools.count():
      yield from torch.randperm(self._count).tolist()


def batches(files_a, files_b, load_size, size, batch, threads):
  """Returns an endless iterator of batches.

  Args:
    files_a: list of picture files of A.
    files_b: list of picture files of B.
    load_size: side in pixels that pictures are scaled to.
    size: side of the random crop in pixels.
    batch: number of images per domain.
    threads: number of worker processes.

  Returns:
    Iterator of {'A' and 'B': float32 [batch, 3, size, size] in [-1, 1]}.
  """
  loader = torch.utils.data.DataLoader(
    Unaligned(files_a, files_b, load_size, size),
    batch_size=batch,
    sampler=_Epochs(len(files_a)),
    num_workers=threads,
    # A fork would copy the threads of TensorFlow in an undefined state.
    multiprocessing_context='spawn',
  )
  return iter(loader)
