"""A model service for scikit-learn models: Open Inference Protocol V2, features looked up, zero-code telemetry."""

from typing import Final

__version__: Final = "0.1.0"
