"""Language learnt from the user's own corpus: segmenter, tagger, dependency parser."""
