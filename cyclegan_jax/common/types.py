"""Types shared by the signatures of several folders.

Arrays are NumPy arrays; the module does not import JAX.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

Image = Float[np.ndarray, 'height width channels']
Images = Float[np.ndarray, 'batch height width channels']
# (images, direction) -> their translations, with the channels of that domain.
Translate = Callable[
  [Images, str], Float[np.ndarray, 'batch height width other_channels']
]
# Parameters of networks: dicts of dicts, whose leaves are arrays.
Params = dict[str, Any]
# For each class, the RGB colours in [0, 255] that mark it in a label picture.
Colours = list[list[list[float]]]
