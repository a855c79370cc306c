"""sentencepiece can be imported; what the check does makes no use of it."""
