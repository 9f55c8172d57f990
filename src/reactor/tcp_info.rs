//! What the kernel knows of a TCP socket (TCP_INFO, tcp(7)).
//!
//! nix has no such option of its own; its macro makes a safe one.

use std::io;
use std::mem::offset_of;
use std::os::fd::AsFd;

use nix::libc::{self, tcp_info};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;

/// As much of a `struct tcp_info` as is read here, which Linux 4.6 had. Asked for all of it, an older kernel than libc's would
/// answer with less, and nix takes that for a fault.
const LENGTH: usize = offset_of!(tcp_info, tcpi_notsent_bytes) + size_of::<u32>();

#[derive(Clone, Copy, Debug)]
struct TcpInfo;

nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; LENGTH], GetStruct<[u8; LENGTH]>);

/// Connections that wait in a listener's queue.
pub(super) fn waiting(listener: &impl AsFd) -> io::Result<usize> {
    // That is what this field means for a listener.
    Ok(unacknowledged(&getsockopt(listener, TcpInfo)?) as usize)
}

/// Whether the peer's kernel has acknowledged all that was given to ours to send, a FIN included.
pub(super) fn is_acknowledged(stream: &impl AsFd) -> io::Result<bool> {
    let info = getsockopt(stream, TcpInfo)?;
    Ok(unacknowledged(&info) == 0 && number(&info, offset_of!(tcp_info, tcpi_notsent_bytes)) == 0)
}

fn unacknowledged(info: &[u8; LENGTH]) -> u32 {
    number(info, offset_of!(tcp_info, tcpi_unacked))
}

fn number(info: &[u8; LENGTH], at: usize) -> u32 {
    info[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn queue_of_a_listener_and_data_under_way() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(waiting(&listener).unwrap(), 0);
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(waiting(&listener).unwrap(), 1);
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(waiting(&listener).unwrap(), 0);
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        assert!(is_acknowledged(&client).unwrap());
        // More than the peer's kernel has room for.
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 1 << 16]).is_ok() {}
        assert!(!is_acknowledged(&client).unwrap());
    }
}
