//! Servers that answer as a test tells them, on threads of their own that end with the test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::super::support::Client;

/// A TCP server on a port of its own. `attend` gets the number of each connection, from 1, and returns the function
/// that answers its lines. That gets a line's number, from 1, and its text, and returns the answer; `None` closes the
/// connection, an empty answer is silence.
pub(super) fn tcp<R>(attend: impl Fn(u64) -> R + Send + 'static) -> SocketAddr
where
    R: FnMut(u64, &str) -> Option<String> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming().map_while(Result::ok)) {
            let mut reply = attend(number);
            stream.set_nodelay(true).expect("no delay");
            thread::spawn(move || {
                for (number, line) in (1..).zip(BufReader::new(&stream).lines().map_while(Result::ok)) {
                    let Some(answer) = reply(number, &line) else { return };
                    if (&stream).write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A UDP server on a port of its own. `reply` gets the number of each datagram, from 1, and its text, and returns the
/// datagrams that answer it; `None` closes the socket.
///
/// The first datagram, by which the load looks whether a server is there, does not count.
pub(super) fn udp(mut reply: impl FnMut(u64, &str) -> Option<Vec<String>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        for number in 1.. {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
            let Some(answers) = reply(number, &String::from_utf8_lossy(&buffer[..length])) else { return };
            answers.iter().for_each(|answer| drop(socket.send_to(answer.as_bytes(), from)));
        }
    });
    address
}

/// The endpoint of a listener whose backlog is full: SYNs are not answered. It lives as long as the second value.
pub(super) fn full_listener() -> (String, impl Sized) {
    let (endpoint, listener) = listener_for(0);
    let waiting = Client::tcp(endpoint["tcp://".len()..].parse().expect("an address"));
    (endpoint, (listener, waiting))
}

/// A listener that never accepts. Its queue holds one connection more than `backlog` (listen(2)).
pub(super) fn listener_for(backlog: i32) -> (String, Socket) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback");
    listener.listen(backlog).expect("bound");
    let address = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("bound");
    (format!("tcp://{address}"), listener)
}

/// The right answer to a line or a datagram.
pub(super) fn pong(question: &str) -> String {
    question.replacen("ping", "pong", 1)
}

/// The right answer to a line, with its end.
pub(super) fn pong_line(question: &str) -> String {
    pong(question) + "\n"
}
