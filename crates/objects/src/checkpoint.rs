//! Checkpoints: an agent's workspace and state, saved so that any other worker can go on.
