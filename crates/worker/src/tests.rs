//! Stories of a worker with a real database and a real folder of objects.

mod models;
mod recovery;
mod sources;
mod spending;
mod steering;
mod time;
mod turns;
mod workspaces;
mod world;
