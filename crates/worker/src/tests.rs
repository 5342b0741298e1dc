//! Stories of a worker with a real database and a real folder of objects.

mod models;
mod recovery;
mod sources;
mod steering;
mod turns;
mod workspaces;
mod world;
