"""The commands: one function each, with its options. Heavy imports are inside them."""
