"""Hydra finds the sweeper `study` here."""
