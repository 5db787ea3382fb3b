"""Types that signatures of several folders share.

Arrays are those of NumPy: nothing here loads JAX.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

Image = Float[np.ndarray, 'height width channels']
Images = Float[np.ndarray, 'batch height width channels']
# (images, direction) -> images of the other domain, with its channels.
Translate = Callable[
  [Images, str], Float[np.ndarray, 'batch height width other_channels']
]
# Parameters of networks: dicts of dicts, whose leaves are arrays.
Params = dict[str, Any]
# For each class the RGB colours in [0, 255] that stand for it.
Colours = list[list[list[float]]]
