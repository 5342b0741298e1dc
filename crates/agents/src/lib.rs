//! Agent runtimes behind one trait.
