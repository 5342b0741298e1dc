//! Evidence and the hash-chained journal of a drill.
