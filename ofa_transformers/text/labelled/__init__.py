"""Labelled text: its formats, its examples, and labels projected onto translations."""
