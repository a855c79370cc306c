"""The factorized models, their registration with the Auto classes, and surgery on models of others."""
