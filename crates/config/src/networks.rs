//! Lists of networks (`lists`).
//!
//! Not here: what a network is allowed for (`domain::egress`).

use ipnet::IpNet;
use serde::Deserializer;
use serde::de::Error;

use crate::lists;

/// More would be another way to write a firewall.
const MOST: usize = 64;

pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = lists::texts(deserializer, "a list of networks such as 10.1.0.0/16")?;
    let networks: Vec<IpNet> = texts.iter().map(|text| network(text)).collect::<Result<_, _>>()?;
    if networks.len() > MOST {
        return Err(D::Error::custom(format_args!("there are more than {MOST} networks")));
    }
    Ok(networks)
}

/// One that does not begin where it says may be a slip of the pen that allows more than was meant.
fn network<E: Error>(text: &str) -> Result<IpNet, E> {
    let network: IpNet =
        text.parse().map_err(|_| E::custom("one of them is no network; write it as 10.1.0.0/16 or 10.1.2.3/32"))?;
    if network.trunc() != network {
        return Err(E::custom(format_args!("a network begins at its first address, here {}", network.trunc())));
    }
    Ok(network)
}
