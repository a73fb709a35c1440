"""Exchange with other tools: models and files that they read, and runs that they wrote."""
