"""Plans without regularisation: unit pixels by shortest augmenting paths, other marginals by POT's simplex."""
