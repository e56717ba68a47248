"""Models of other frameworks: PyTorch checkpoints by architecture (`IMPORTERS`), and QKeras files (`qkeras`)."""

from qformers.interop.importers import IMPORTERS, Sizes, import_weights

__all__ = ["IMPORTERS", "Sizes", "import_weights"]
