"""The factorized models, their registration with the Auto classes, and what is loaded from and changed in models of others."""
