"""The scenes of the corpus, a module for each of its folders."""
