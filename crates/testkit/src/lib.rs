//! For tests: a database per test, a seeded rng, waiting for a state.
