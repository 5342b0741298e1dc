//! Channel providers behind one trait.
