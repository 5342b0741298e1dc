//! Sessions: create, list, view, command, follow.
