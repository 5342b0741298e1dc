//! How many connections each address has at a listener, so that no single one takes all places.
//!
//! Of IPv6 a /64 counts as one address: whoever was given one of them was given all. Behind a proxy everybody has the
//! proxy's address; then it is the proxy that tells peers apart.
//!
//! Not here: how many connections there are at all, and what becomes of one too many (`connections`), how many streams
//! a caller has (`web::events`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bits of an IPv6 address that tell one network from another.
const NETWORK: u128 = !0 << 64;

/// The addresses that have connections. There are no more of them than connections.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Connections of one address. 0: as many as come.
    most: u32,
    connections: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection that counts for its address until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    of: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    pub(super) fn with(most: u32) -> Arc<Self> {
        measures::counter(
            "cowork_connections_refused_total",
            "connections that were closed at once, since their address had as many as it may",
        );
        Arc::new(Self { most, connections: Mutex::default() })
    }

    /// `None`: the address has as many as it may.
    pub(super) fn another(self: &Arc<Self>, peer: IpAddr) -> Option<Counted> {
        let address = counted_as(peer);
        if self.add(address) {
            return Some(Counted { of: self.clone(), address });
        }
        metrics::counter!("cowork_connections_refused_total").increment(1);
        None
    }

    fn add(&self, address: IpAddr) -> bool {
        let mut connections = self.locked();
        let has = connections.entry(address).or_default();
        let may = self.most == 0 || *has < self.most;
        *has += u32::from(may);
        may
    }

    /// Nothing is left half done under this lock.
    fn locked(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Entry::Occupied(mut has) = self.of.locked().entry(self.address) {
            *has.get_mut() -= 1;
            if *has.get() == 0 {
                has.remove();
            }
        }
    }
}

fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(one: &str, other: &str, expect: bool) {
        let counted = |text: &str| counted_as(text.parse().unwrap());
        assert_eq!(counted(one) == counted(other), expect, "{one} and {other}");
    }

    #[test]
    fn whoever_has_one_address_of_a_network_has_all_of_it() {
        same("192.0.2.1", "192.0.2.2", false);
        same("192.0.2.1", "::ffff:192.0.2.1", true);
        same("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
        same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true);
        same("2001:db8:0:1::1", "2001:db8:0:2::1", false);
    }

    #[test]
    fn an_address_has_a_share_and_is_forgotten_with_its_last_connection() {
        let addresses = Addresses::with(2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (first, second) = (addresses.another(one).unwrap(), addresses.another(one).unwrap());
        assert!(addresses.another(one).is_none());
        let others = addresses.another(other).unwrap();
        drop(first);
        let third = addresses.another(one).unwrap();
        assert!(addresses.another(one).is_none());
        drop((second, third, others));
        assert!(addresses.locked().is_empty());
        let unbounded = Addresses::with(0);
        let all: Vec<_> = (0..1_000).map(|_| unbounded.another(one).unwrap()).collect();
        drop(all);
        assert!(unbounded.locked().is_empty());
    }
}
