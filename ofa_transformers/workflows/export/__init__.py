"""Checkpoints in the formats of other runtimes: ONNX and GGUF."""
