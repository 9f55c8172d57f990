//! [`PackedAddress`]: an address in half the room, for what is kept of ten thousand peers.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use super::Address;

/// An [`Address`]. An IPv4 address takes no memory beside its 16 bytes, any other one has a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PackedAddress {
    V4(SocketAddrV4),
    /// An IPv4 peer of a dual-stack socket: `::ffff:a.b.c.d` (ipv6(7)).
    Mapped(SocketAddrV4),
    Other(Box<Address>),
}

impl PackedAddress {
    /// The address, as the kernel names it.
    pub(crate) fn to_address(&self) -> Address {
        match self {
            Self::V4(v4) => Address::Ip((*v4).into()),
            Self::Mapped(v4) => Address::Ip((v4.ip().to_ipv6_mapped(), v4.port()).into()),
            Self::Other(other) => (**other).clone(),
        }
    }

    /// The IP address, as [`Address::ip`] has it.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(v4) | Self::Mapped(v4) => Some((*v4.ip()).into()),
            Self::Other(other) => other.ip(),
        }
    }
}

impl From<Address> for PackedAddress {
    fn from(address: Address) -> Self {
        match address {
            Address::Ip(SocketAddr::V4(v4)) => Self::V4(v4),
            Address::Ip(SocketAddr::V6(v6)) if v6.flowinfo() == 0 && v6.scope_id() == 0 => {
                match v6.ip().to_ipv4_mapped() {
                    Some(v4) => Self::Mapped(SocketAddrV4::new(v4, v6.port())),
                    None => Self::Other(Address::Ip(v6.into()).into()),
                }
            }
            other => Self::Other(other.into()),
        }
    }
}

/// As the address itself is shown.
impl fmt::Display for PackedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) | Self::Mapped(v4) => v4.fmt(f),
            Self::Other(other) => other.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nothing_of_an_address_is_lost() {
        let ips = ["127.0.0.1:80", "[::1]:80", "[::ffff:10.0.0.1]:80", "[fe80::1%3]:80", "[::ffff:10.0.0.1%3]:80"];
        let ips = ips.map(|text| Address::Ip(text.parse().unwrap()));
        let paths = [None, Some("/run/x")].map(|path| Address::Unix(path.map(|path| Path::new(path).into())));
        for address in ips.into_iter().chain(paths) {
            let packed = PackedAddress::from(address.clone());
            assert_eq!((packed.to_address(), packed.ip()), (address.clone(), address.ip()));
            assert_eq!(packed.to_string(), address.to_string());
        }
        assert_eq!(size_of::<PackedAddress>(), 16);
    }
}
