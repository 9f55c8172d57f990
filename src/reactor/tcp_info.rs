//! What the kernel knows of a TCP socket (TCP_INFO, tcp(7)).
//!
//! nix has no such option of its own; its macro makes a safe one.

use std::io;
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;

#[derive(Clone, Copy, Debug)]
struct TcpInfo;

nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, libc::tcp_info, GetStruct<libc::tcp_info>);

/// Connections that wait in a listener's queue.
pub(super) fn waiting(listener: &impl AsFd) -> io::Result<usize> {
    // That is what this field means for a listener.
    Ok(getsockopt(listener, TcpInfo)?.tcpi_unacked as usize)
}

/// Whether the peer's kernel has acknowledged all that was given to ours to send, a FIN included.
pub(super) fn is_acknowledged(stream: &impl AsFd) -> io::Result<bool> {
    let info = getsockopt(stream, TcpInfo)?;
    Ok(info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0)
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
