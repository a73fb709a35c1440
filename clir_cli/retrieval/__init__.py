"""Encoders, MaxSim and the token store. No experiments."""
