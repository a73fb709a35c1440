"""The method: transport, objectives, batches, the training loop. No files, no command line."""
