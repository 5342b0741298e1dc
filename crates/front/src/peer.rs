//! Who is at the other end of a connection.
//!
//! The connection's own address and nothing else: what a header says of it, anybody may write. Behind a proxy everybody
//! has the proxy's, which whoever limits by it has to bear in mind.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::Extensions;
use axum::http::request::Parts;
use domain::rate::Network;

/// Where a request is from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Network);

/// Where a request with these extensions is from. Who serves connections says it, with [`ConnectInfo`].
#[must_use]
pub fn network(extensions: &Extensions) -> Network {
    Network::of(extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip()))
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(network(&parts.extensions)))
    }
}
