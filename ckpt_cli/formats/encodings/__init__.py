"""The envelopes that formats share: pickles, zips, JSON. They know bytes and structure, nothing of tensors but `torch_objects`."""
