"""A model service for scikit-learn models, by the Open Inference Protocol V2."""

from typing import Final

__version__: Final = "0.1.0"
