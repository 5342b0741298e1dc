//! Nothing here: the stories are in `tests/`.
