"""What compiled code stands on: numba's compiler and its cache, threads, vectors, backends. Knows no equation."""
