"""One file a stage: inputs, work, artifact."""
