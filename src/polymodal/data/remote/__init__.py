"""Objects by address, as local files: a cache of bounded size, what fetches one object, and who may ask for it."""
