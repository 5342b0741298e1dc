//! The judge: restores, brings roles up in order, asks, records, decides.
