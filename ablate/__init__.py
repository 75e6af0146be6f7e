"""Experiment-tracked ablation studies: does the added part earn its parameters?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.commands.report import load_results as load_results

__all__ = ["load_results"]


def __getattr__(name: str) -> object:
    """Import on first use: `import ablate` stays light."""
    if name == "load_results":
        from ablate.commands.report import load_results

        return load_results
    raise AttributeError(f"module 'ablate' has no attribute {name!r}")
