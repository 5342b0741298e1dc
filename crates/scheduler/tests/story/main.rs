//! Schedulers and a real database.

mod slots;
mod traced;
mod world;
