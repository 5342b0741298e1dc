//! Names are looked up here, so that what a connection is made to is what was judged.
//!
//! The HTTP client connects to the addresses that it is given and looks nothing up by itself, so a name that leads elsewhere
//! the next time is judged again the next time. A connection that is used again was judged when it was made.
//!
//! Not here: which addresses may be called (`domain::egress`), addresses that a URL names, which are never looked up.

use std::io;
use std::net::SocketAddr;

use domain::egress::Egress;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

type Unresolved = Box<dyn std::error::Error + Send + Sync>;

/// Looks names up with the system's resolver, and keeps back what may not be called.
#[derive(Debug)]
pub(crate) struct Guard {
    egress: Egress,
}

impl Guard {
    pub(crate) fn new(egress: Egress) -> Self {
        Self { egress }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.egress.clone();
        Box::pin(async move {
            // The client sets the port.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Addrs = Box::new(permitted(&egress, found)?.into_iter());
            Ok(permitted)
        })
    }
}

/// Those of `found` that may be called.
///
/// # Errors
/// If none may be, or there is none.
fn permitted(egress: &Egress, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Unresolved> {
    let (mut permitted, mut refused) = (Vec::new(), None);
    for address in found {
        match egress.judge(address.ip()) {
            Ok(()) => permitted.push(address),
            Err(refusal) => refused = Some(refusal),
        }
    }
    match refused {
        _ if !permitted.is_empty() => Ok(permitted),
        Some(refusal) => Err(refusal.into()),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "the name leads nowhere").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::egress::{Network, Refused};

    use super::*;

    fn check(found: &[&str]) -> Result<Vec<String>, Unresolved> {
        let found = found.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0));
        Ok(permitted(&Egress::default(), found)?.iter().map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn a_name_with_many_addresses_is_called_at_those_that_are_public() {
        assert_eq!(check(&["127.0.0.1", "1.1.1.1", "::1"]).unwrap(), ["1.1.1.1"]);
        assert!(check(&["127.0.0.1", "10.0.0.1"]).unwrap_err().is::<Refused>());
        assert!(check(&[]).unwrap_err().is::<io::Error>());
    }

    /// What a client says that is asked for a name of this machine, and whether the listener was called.
    async fn call(egress: Egress) -> (reqwest::Result<reqwest::Response>, bool) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let client = crate::guarded(Duration::from_millis(300), egress).build().unwrap();
        let answer = client.get(url).send().await;
        (answer, listener.accept().is_ok())
    }

    #[tokio::test]
    async fn no_connection_is_made_to_where_a_name_must_not_lead() {
        let (answer, called) = call(Egress::default()).await;
        assert_eq!(crate::refusal(&answer.unwrap_err()), Some(Refused { network: Network::Loopback }));
        assert!(!called);
        // The same name, where it may be called: nobody answers, but somebody was called.
        let (answer, called) = call(Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()])).await;
        assert_eq!(crate::refusal(&answer.unwrap_err()), None);
        assert!(called);
    }
}
