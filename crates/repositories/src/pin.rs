//! To which addresses a connection may go: looked up and judged once, and then told to git, which looks nothing up.
//!
//! Not here: which addresses are public (`domain::egress`).

use std::net::{IpAddr, SocketAddr};

use domain::egress::Egress;
use url::Host;

use crate::{Address, FetchError};

/// Addresses that a name is taken for; `None`: the URL names the address itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pinned(Option<String>);

impl Pinned {
    #[cfg(test)]
    pub(crate) fn to(resolve: String) -> Self {
        Self(Some(resolve))
    }

    /// As curl takes it.
    pub(crate) fn resolve(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

pub(crate) async fn pin(egress: &Egress, address: &Address) -> Result<Pinned, FetchError> {
    let url = address.url();
    let port = url.port_or_known_default().ok_or(FetchError::NotCalled)?;
    let name = match url.host() {
        Some(Host::Ipv4(ip)) => return judged(egress, address, &[ip.into()]).map(|_| Pinned(None)),
        Some(Host::Ipv6(ip)) => return judged(egress, address, &[ip.into()]).map(|_| Pinned(None)),
        Some(Host::Domain(name)) => name,
        None => return Err(FetchError::NotCalled),
    };
    let found = tokio::net::lookup_host((name, port)).await.map_err(|_| FetchError::NoSuchHost)?;
    let found: Vec<IpAddr> = found.map(|address: SocketAddr| address.ip()).collect();
    if found.is_empty() {
        return Err(FetchError::NoSuchHost);
    }
    let taken: Vec<String> = judged(egress, address, &found)?.into_iter().map(as_curl_writes).collect();
    Ok(Pinned(Some(format!("{name}:{port}:{}", taken.join(",")))))
}

/// Those that may be called. Without encryption only those that an operator allowed: nobody stands between in a network of one's own.
fn judged(egress: &Egress, address: &Address, found: &[IpAddr]) -> Result<Vec<IpAddr>, FetchError> {
    let public = Egress::default();
    let may = |ip: &IpAddr| egress.judge(*ip).is_ok() && (address.encrypted() || public.judge(*ip).is_err());
    let taken: Vec<IpAddr> = found.iter().copied().filter(may).collect();
    if taken.is_empty() { Err(FetchError::NotCalled) } else { Ok(taken) }
}

fn as_curl_writes(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(allowed: &[&str], url: &str, found: &[&str]) -> Vec<String> {
        let egress = Egress::allowing(allowed.iter().map(|net| net.parse().unwrap()).collect());
        let found: Vec<IpAddr> = found.iter().map(|ip| ip.parse().unwrap()).collect();
        let taken = judged(&egress, &Address::read(url).unwrap(), &found).unwrap_or_default();
        taken.into_iter().map(as_curl_writes).collect()
    }

    #[test]
    fn a_name_is_taken_for_those_of_its_addresses_that_may_be_called() {
        let found = ["127.0.0.1", "1.1.1.1", "169.254.169.254", "2606:4700::1111", "::ffff:10.0.0.1"];
        assert_eq!(taken(&[], "https://example.org/a", &found), ["1.1.1.1", "[2606:4700::1111]"]);
        assert_eq!(taken(&["127.0.0.0/8"], "https://example.org/a", &found[..2]), ["127.0.0.1", "1.1.1.1"]);
        assert_eq!(taken(&["127.0.0.0/8"], "http://example.org/a", &found[..2]), ["127.0.0.1"]);
        assert!(taken(&[], "http://example.org/a", &found).is_empty());
        assert!(taken(&[], "https://example.org/a", &["10.0.0.1", "::1"]).is_empty());
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_called_unless_it_is_allowed() {
        let address = Address::read("https://localhost:1234/a").unwrap();
        assert!(matches!(pin(&Egress::default(), &address).await, Err(FetchError::NotCalled)));
        let allowed = Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
        let pinned = pin(&allowed, &address).await.unwrap();
        assert_eq!(pinned.resolve(), Some("localhost:1234:127.0.0.1"));
        let literal = Address::read("https://127.0.0.1/a").unwrap();
        assert_eq!(pin(&allowed, &literal).await.unwrap(), Pinned(None));
        assert!(matches!(pin(&Egress::default(), &literal).await, Err(FetchError::NotCalled)));
    }
}
