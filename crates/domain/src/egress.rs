//! Which addresses this system calls on behalf of those who use it.
//!
//! Whoever may make a channel says where messages go, and the gateway stands inside of a network that they may not be in.
//! So only public addresses are called, unless an operator allows a network. What is judged is an address, when a
//! connection is about to be made to it: a name may lead elsewhere each time that it is looked up.
//!
//! Not here: looking names up and connecting (`channels`), addresses that an operator configured (the recorder of a drill
//! copy, the provider that people sign in at), which are called as they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// The addresses that may be called: public ones, and those in the networks that an operator allows. Cheap to clone as long
/// as there are few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    allowed: Vec<IpNet>,
}

/// What an address is that is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Loopback,
    /// Of an organisation's own (RFC 1918, RFC 4193), or of a provider's behind its translator (RFC 6598).
    Private,
    /// Where clouds answer with a machine's credentials.
    LinkLocal,
    Multicast,
    Unspecified,
    /// Set aside for something else than public use, or not given out.
    Reserved,
}

/// An address is not called from here. What to do stands in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the destination leads to {}, which is not called from here; give the channel a public address, or have an operator \
     allow the network in gateway.allowed_networks", .network.in_words()
)]
pub struct Refused {
    pub network: Network,
}

/// Special ranges of IANA's registry, and the one address outside of them at which a cloud (Azure) answers its own machines.
const SPECIAL_V4: [(Ipv4Net, Network); 16] = [
    (v4([0, 0, 0, 0], 8), Network::Unspecified),
    (v4([10, 0, 0, 0], 8), Network::Private),
    (v4([100, 64, 0, 0], 10), Network::Private),
    (v4([127, 0, 0, 0], 8), Network::Loopback),
    (v4([169, 254, 0, 0], 16), Network::LinkLocal),
    (v4([172, 16, 0, 0], 12), Network::Private),
    (v4([192, 0, 0, 0], 24), Network::Reserved),
    (v4([192, 0, 2, 0], 24), Network::Reserved),
    (v4([192, 88, 99, 0], 24), Network::Reserved),
    (v4([192, 168, 0, 0], 16), Network::Private),
    (v4([198, 18, 0, 0], 15), Network::Reserved),
    (v4([198, 51, 100, 0], 24), Network::Reserved),
    (v4([203, 0, 113, 0], 24), Network::Reserved),
    (v4([224, 0, 0, 0], 4), Network::Multicast),
    (v4([240, 0, 0, 0], 4), Network::Reserved),
    (v4([168, 63, 129, 16], 32), Network::Reserved),
];

/// The first that holds an address says what it is. Old ways to carry IPv4 in IPv6 (6to4, Teredo) are among them.
const SPECIAL_V6: [(Ipv6Net, Network); 10] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Network::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Network::Loopback),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Network::LinkLocal),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Network::Private),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Network::Private),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Network::Multicast),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Network::Reserved),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Network::Reserved),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Network::Reserved),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Network::Reserved),
];

/// All that is public today.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// An address in here stands for the IPv4 address at its end (RFC 6052).
const TRANSLATED: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(address: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(address: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = address;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

impl Egress {
    /// Public addresses, and those in `networks`.
    #[must_use]
    pub fn allowing(networks: Vec<IpNet>) -> Self {
        Self { allowed: networks }
    }

    /// # Errors
    /// If the address is not public, and in no network that is allowed.
    pub fn judge(&self, address: IpAddr) -> Result<(), Refused> {
        let address = meant(address);
        match special(address) {
            Some(network) if !self.allowed.iter().any(|net| net.contains(&address)) => Err(Refused { network }),
            _ => Ok(()),
        }
    }

    /// Judges what a URL says without looking a name up: its address, or a name that stands for this machine everywhere.
    ///
    /// # Errors
    /// As [`Self::judge`]. A name that is not refused here has to be judged again by what it leads to.
    pub fn judge_url(&self, url: &Url) -> Result<(), Refused> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.judge(address.into()),
            Some(Host::Ipv6(address)) => self.judge(address.into()),
            Some(Host::Domain(name)) if is_this_machine(name) => {
                self.judge(Ipv4Addr::LOCALHOST.into()).or_else(|_| self.judge(Ipv6Addr::LOCALHOST.into()))
            }
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

impl Network {
    pub const ALL: [Self; 6] =
        [Self::Loopback, Self::Private, Self::LinkLocal, Self::Multicast, Self::Unspecified, Self::Reserved];

    /// In labels of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Loopback => "the machine itself",
            Self::Private => "a private network",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "no address in particular",
            Self::Reserved => "an address that is set aside for a special purpose",
        }
    }
}

/// The IPv4 address that an IPv6 address only carries, where there is one: that is who would be reached.
fn meant(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if TRANSLATED.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        address => address,
    }
}

/// `None`: it is public.
fn special(address: IpAddr) -> Option<Network> {
    match address {
        IpAddr::V4(address) => SPECIAL_V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, network)| *network),
        IpAddr::V6(address) => {
            let listed = SPECIAL_V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, network)| *network);
            listed.or_else(|| (!GLOBAL_UNICAST.contains(&address)).then_some(Network::Reserved))
        }
    }
}

/// RFC 6761: such names lead to loopback, whoever is asked.
fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(address: &str) -> Option<Network> {
        Egress::default().judge(address.parse().unwrap()).err().map(|refused| refused.network)
    }

    #[test]
    fn only_public_addresses_are_called() {
        for address in ["93.184.215.14", "1.1.1.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::1.1.1.1"]
        {
            assert_eq!(judged(address), None, "{address}");
        }
        let refused = [
            ("127.0.0.1", Network::Loopback),
            ("127.255.255.254", Network::Loopback),
            ("::1", Network::Loopback),
            ("10.1.2.3", Network::Private),
            ("100.64.0.1", Network::Private),
            ("172.31.255.255", Network::Private),
            ("192.168.0.1", Network::Private),
            ("fd00:ec2::254", Network::Private),
            ("fec0::1", Network::Private),
            ("169.254.169.254", Network::LinkLocal),
            ("fe80::1", Network::LinkLocal),
            ("239.1.1.1", Network::Multicast),
            ("ff02::1", Network::Multicast),
            ("0.0.0.0", Network::Unspecified),
            ("0.1.2.3", Network::Unspecified),
            ("::", Network::Unspecified),
            ("255.255.255.255", Network::Reserved),
            ("192.0.2.7", Network::Reserved),
            ("198.19.0.1", Network::Reserved),
            ("168.63.129.16", Network::Reserved),
            ("2001:db8::1", Network::Reserved),
            ("4000::1", Network::Reserved),
        ];
        for (address, network) in refused {
            assert_eq!(judged(address), Some(network), "{address}");
        }
    }

    #[test]
    fn an_address_that_carries_another_is_judged_by_that_one() {
        for address in ["::ffff:127.0.0.1", "64:ff9b::127.0.0.1"] {
            assert_eq!(judged(address), Some(Network::Loopback), "{address}");
        }
        for address in ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"] {
            assert_eq!(judged(address), Some(Network::LinkLocal), "{address}");
        }
        assert_eq!(judged("::ffff:1.1.1.1"), None);
        // Ways that nobody needs are closed, whatever they carry.
        for address in ["::127.0.0.1", "2002:7f00:1::", "2001:0:7f00:1::", "64:ff9b:1::1.1.1.1"] {
            assert_eq!(judged(address), Some(Network::Reserved), "{address}");
        }
    }

    #[test]
    fn a_network_that_is_allowed_opens_nothing_beside_it() {
        let egress = Egress::allowing(vec!["10.1.0.0/16".parse().unwrap(), "fd12::/16".parse().unwrap()]);
        let judge = |address: &str| egress.judge(address.parse().unwrap()).is_ok();
        assert!(judge("10.1.2.3") && judge("::ffff:10.1.2.3") && judge("fd12::7") && judge("1.1.1.1"));
        assert!(!judge("10.2.0.1") && !judge("127.0.0.1") && !judge("169.254.169.254") && !judge("fd13::7"));
    }

    #[test]
    fn an_address_is_found_in_every_spelling_that_a_url_has_for_it() {
        let judge = |url: &str| Egress::default().judge_url(&url.parse().unwrap());
        for url in [
            "http://127.0.0.1/",
            "http://127.1:8080/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "https://LOCALHOST/",
            "http://localhost./",
            "http://hook.localhost/",
            "http://１２７.0.0.1/",
        ] {
            assert_eq!(judge(url), Err(Refused { network: Network::Loopback }), "{url}");
        }
        for url in ["https://chat.example/hook", "https://localhost.example/", "https://1.1.1.1/"] {
            assert_eq!(judge(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn this_machine_may_be_allowed_by_either_of_its_addresses() {
        let url: Url = "http://localhost:9/".parse().unwrap();
        for network in ["127.0.0.0/8", "::1/128"] {
            assert_eq!(Egress::allowing(vec![network.parse().unwrap()]).judge_url(&url), Ok(()), "{network}");
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_judged_alike_in_all_its_forms(bits: u32) {
            let (plain, egress) = (Ipv4Addr::from(bits), Egress::default());
            let translated = Ipv6Addr::from(0x0064_ff9b_u128 << 96 | u128::from(bits));
            prop_assert_eq!(egress.judge(plain.into()), egress.judge(plain.to_ipv6_mapped().into()));
            prop_assert_eq!(egress.judge(plain.into()), egress.judge(translated.into()));
        }
    }
}
