"""Diffusion mathematics: bridges and samplers, without networks or data."""
