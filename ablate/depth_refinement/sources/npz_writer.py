"""Write arrays to a compressed .npz file, completely or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate import write_whole


def write_npz(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raises OSError where the file cannot be written; then an existing file is unchanged."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_whole(file, [content.getbuffer()])
