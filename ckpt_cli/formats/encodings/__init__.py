"""Encodings that several families of formats share: pickles, zips, strict JSON, Protocol Buffers, varints."""
