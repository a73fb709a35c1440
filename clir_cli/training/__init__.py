"""The training loop, its batches and tasks, and training in several processes."""
