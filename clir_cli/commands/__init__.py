"""The commands: one function each, with its options. Heavy imports stand inside them."""
