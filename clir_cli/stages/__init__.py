"""The stages, one file each: inputs, work, artifact. ``kinds`` declares what they make."""

from clir_cli.stages import kinds as kinds
