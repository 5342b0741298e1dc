//! Keys that users bring.
