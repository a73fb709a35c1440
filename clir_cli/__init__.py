"""clir: a command-line experiment runner for cross-lingual retrieval."""

__version__ = "0.1.0"
