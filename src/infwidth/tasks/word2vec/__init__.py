"""Word2Vec: continuous bag of words with negative sampling (TP4 section 9)."""
