"""TensorFlow's checkpoints, of all versions."""
