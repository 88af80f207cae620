"""safetensors, and models in shards with an index."""
