//! Datagrams whose answers carry no number: which question an answer belongs to.

use std::net::{SocketAddr, UdpSocket};
use std::thread::{self, JoinHandle};

use super::super::support::{Folder, Launch, PATIENCE, Server};
use super::{ping, summary};

const FIXED: &str = "--send ping --expect pong";

/// A UDP server with a script of its own: it is given the socket, and a function that waits for the next question and
/// returns where it is from.
fn scripted<T: Send + 'static>(
    script: impl FnOnce(&UdpSocket, &dyn Fn() -> SocketAddr) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let endpoint = format!("udp://{}", socket.local_addr().expect("bound"));
    let asked = |socket: &UdpSocket| socket.recv_from(&mut [0; 100]).expect("a question").1;
    (endpoint, thread::spawn(move || script(&socket, &|| asked(&socket))))
}

fn answer(socket: &UdpSocket, to: SocketAddr) {
    socket.send_to(b"pong", to).expect("loopback");
}

#[test]
fn lost_datagram_falsifies_no_other_answer() {
    let (endpoint, server) = scripted(|socket, next| {
        for number in 1..=5 {
            let asker = next();
            if number != 2 {
                answer(socket, asker);
            }
        }
    });
    let ended = ping(&endpoint, &format!("{FIXED} -c 5 -i 20ms -W 5s"));
    server.join().expect("it answers");
    assert_eq!(summary(&ended), "5 sent, 4 received, 1 lost (20%), 0 late, 0 wrong, 0 duplicate");
    for number in 1..=5 {
        assert_eq!(ended.stdout.contains(&format!(" seq={number} ")), number != 2, "{ended:?}");
    }
}

#[test]
fn answers_out_of_order_belong_to_their_questions() {
    let (endpoint, server) = scripted(|socket, next| {
        let askers = [next(), next(), next()];
        for number in [2, 0, 1] {
            answer(socket, askers[number]);
        }
    });
    let ended = ping(&endpoint, &format!("{FIXED} -c 3 -i 20ms -W 5s"));
    server.join().expect("it answers");
    assert_eq!(summary(&ended), "3 sent, 3 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate", "{ended:?}");
    let order: Vec<_> = ended.stdout.lines().filter_map(|line| line.split("seq=").nth(1)?.chars().next()).collect();
    assert_eq!(order, ['3', '1', '2']);
}

#[test]
fn answer_that_comes_when_others_were_asked_is_late_and_not_theirs() {
    let (endpoint, server) = scripted(|socket, next| {
        let first = next();
        next();
        answer(socket, first);
        next();
    });
    let ended = ping(&endpoint, &format!("{FIXED} -c 3 -i 200ms -W 100ms"));
    server.join().expect("it answers");
    assert_eq!(summary(&ended), "3 sent, 0 received, 2 lost (67%), 1 late, 0 wrong, 0 duplicate", "{ended:?}");
    assert!(ended.stdout.contains("seq=1 "), "{ended:?}");
}

#[test]
fn one_socket_does_while_answers_come_in_time() {
    let (endpoint, server) = scripted(|socket, next| {
        let askers = [(); 5].map(|()| {
            let asker = next();
            answer(socket, asker);
            asker
        });
        assert_eq!(askers, [askers[0]; 5]);
    });
    let ended = ping(&endpoint, &format!("{FIXED} -c 5 -i 50ms"));
    server.join().expect("it answers");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn socket_of_a_wrong_answer_is_asked_nothing_more() {
    let (endpoint, server) = scripted(|socket, next| {
        let first = next();
        socket.send_to(b"nonsense", first).expect("loopback");
        let second = next();
        // The right answer to the first, late, then that to the second.
        answer(socket, first);
        answer(socket, second);
    });
    let ended = ping(&endpoint, &format!("{FIXED} -c 2 -i 50ms"));
    server.join().expect("it answers");
    assert_eq!(summary(&ended), "2 sent, 1 received, 0 lost (0%), 0 late, 1 wrong, 0 duplicate", "{ended:?}");
}

#[test]
fn datagram_of_several_lines_is_one_answer() {
    let (endpoint, server) = scripted(|socket, next| socket.send_to(b"one\ntwo\n", next()).expect("loopback"));
    let ended = ping(&endpoint, "--send x --expect one\\ntwo\\n -c 1");
    server.join().expect("it answers");
    assert_eq!(summary(&ended), "1 sent, 1 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate", "{ended:?}");
}

#[test]
fn sockets_are_bounded_and_what_is_given_up_for_that_is_told() {
    let deaf = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let arguments = format!("ping udp://{} {FIXED} -c 30 -i 1ms -W 1s -q", deaf.local_addr().expect("it is bound"));
    // 16 descriptors are for other things.
    let ended = Launch::shell("ulimit -n 24; exec \"$0\" \"$@\"", &arguments).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(summary(&ended), "30 sent, 0 received, 30 lost (100%), 0 late, 0 wrong, 0 duplicate");
    assert!(ended.stdout.contains("(22 lost were given up early: 8 may be unanswered at a time)"), "{ended:?}");
}

#[test]
fn unix_datagrams_are_asked_in_this_way_too() {
    let folder = Folder::new();
    let server = Server::start(&format!("ping=unixgram://{}", folder.file("g").display()));
    let ended = ping(server.endpoint("ping", "unixgram"), &format!("{FIXED} -c 3 -i 1ms"));
    assert_eq!(summary(&ended), "3 sent, 3 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate");
}
