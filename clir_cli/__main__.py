"""``python -m clir_cli`` is ``clir``."""

from clir_cli.cli import main

main()
