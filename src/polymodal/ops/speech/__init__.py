"""Speech: recognition by hidden Markov models and by networks, who speaks when, and synthesis."""
