"""Analyses: folds over one checkpoint or two. They read values block by block, and keep a few numbers per tensor."""
