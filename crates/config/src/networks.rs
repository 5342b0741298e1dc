//! Lists of networks: in the file as a list, in the environment as one text with commas.
//!
//! Not here: what a network is allowed for (`domain::egress`).

use std::fmt;

use ipnet::IpNet;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// More would be another way to write a firewall.
const MOST: usize = 64;

pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = deserializer.deserialize_any(Networks)?;
    if networks.len() > MOST {
        return Err(D::Error::custom(format_args!("there are more than {MOST} networks")));
    }
    Ok(networks)
}

struct Networks;

impl<'de> Visitor<'de> for Networks {
    type Value = Vec<IpNet>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of networks such as 10.1.0.0/16")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<IpNet>, E> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<IpNet>, A::Error> {
        let mut networks = Vec::new();
        while let Some(Text(text)) = list.next_element()? {
            networks.push(network(&text)?);
        }
        Ok(networks)
    }
}

#[derive(Deserialize)]
struct Text(String);

/// One that does not begin where it says may be a slip of the pen that allows more than was meant.
fn network<E: Error>(text: &str) -> Result<IpNet, E> {
    let network: IpNet =
        text.parse().map_err(|_| E::custom("one of them is no network; write it as 10.1.0.0/16 or 10.1.2.3/32"))?;
    if network.trunc() != network {
        return Err(E::custom(format_args!("a network begins at its first address, here {}", network.trunc())));
    }
    Ok(network)
}
