use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use super::*;

fn connected(to: &Address, is_stream: bool) -> StampedSocket {
    let start = Instant::now();
    let clock = Clock::of(|| Moment::from_nanos(start.elapsed().as_nanos() as u64));
    let mut socket = StampedSocket::connect(to, None, is_stream, clock).unwrap();
    eventually(|| socket.is_made().unwrap().then_some(()));
    socket
}

/// Tries until there is something, for half a minute.
fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "it never comes");
        std::thread::yield_now();
    }
}

/// The stamp of the device for what has this key.
fn given(socket: &mut StampedSocket, key: u32) -> Moment {
    eventually(|| socket.departure().filter(|stamp| stamp.place == Place::Device && stamp.key == key)).at
}

fn received(socket: &mut StampedSocket, room: &mut [u8]) -> Received {
    eventually(|| socket.receive(room).ok())
}

#[track_caller]
fn assert_in_order(sent: Moment, given: Moment, answer: &Received) {
    let (came, slack) = (answer.came.unwrap(), Duration::from_nanos(10_000));
    assert!(
        sent <= given + slack && given <= came + slack && came <= answer.at + slack,
        "{sent:?} {given:?} {answer:?}"
    );
}

#[test]
fn bytes_of_a_stream_are_stamped_by_their_number() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = connected(&Address::Ip(listener.local_addr().unwrap()), true);
    let (mut server, _) = listener.accept().unwrap();
    assert!(socket.is_stamped());
    let (mut bytes, mut stamped) = (0, 0);
    // The kernel begins to stamp what comes a little after it is asked to (net_enable_timestamp).
    eventually(|| {
        let text = format!("ping {bytes}\n");
        let sent = socket.send(text.as_bytes()).unwrap();
        bytes += sent.count as u32;
        let given = given(&mut socket, bytes - 1);
        let mut room = vec![0; text.len()];
        server.read_exact(&mut room).unwrap();
        server.write_all(&room).unwrap();
        let answer = received(&mut socket, &mut room);
        assert_eq!(answer.count, text.len());
        if answer.came.is_some() {
            assert_in_order(sent.at, given, &answer);
            stamped += 1;
        }
        (stamped == 3).then_some(())
    });
    drop(server);
    assert_eq!(received(&mut socket, &mut [0; 9]).count, 0);
}

#[test]
fn datagrams_are_stamped_by_their_number() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut socket = connected(&Address::Ip(server.local_addr().unwrap()), false);
    let (mut key, mut stamped) = (0, 0);
    eventually(|| {
        let sent = socket.send(b"ping").unwrap();
        let given = given(&mut socket, key);
        key += 1;
        let (count, from) = server.recv_from(&mut [0; 9]).unwrap();
        server.send_to(b"pong", from).unwrap();
        assert_eq!(count, 4);
        let answer = received(&mut socket, &mut [0; 9]);
        if answer.came.is_some() {
            assert_in_order(sent.at, given, &answer);
            stamped += 1;
        }
        (stamped == 3).then_some(())
    });
}

#[test]
fn a_unix_socket_has_no_stamps() {
    let path = std::env::temp_dir().join(format!("pingpong-stamped-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let mut socket = connected(&Address::Unix(Some(path.clone().into())), true);
    std::fs::remove_file(path).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert!(!socket.is_stamped());
    socket.send(b"x").unwrap();
    assert_eq!(socket.departure(), None);
    server.write_all(b"y").unwrap();
    assert_eq!(received(&mut socket, &mut [0]).came, None);
}
