//! The gateway between a real database and a real far side.

mod calls;
mod chats;
mod deliveries;
mod described;
mod door;
mod environment;
mod forgetting;
mod guard;
mod inbound;
mod limits;
mod remembering;
mod rounds;
mod sink;
mod traced;
mod world;
