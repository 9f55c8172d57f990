//! How a `ping` ends where not all is well: the server dies, refuses, does not read, or is not at the first address.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::Socket;

use super::super::support::{BINARY, Ended, Folder, Launch, PATIENCE, Server, Strace, eventually, root, tool};
use super::super::talk::Talk;
use super::{ping, summary};

/// Sent = received + late + wrong + lost + what could not be delivered + under way.
#[track_caller]
fn adds_up(ended: &Ended) {
    let line = summary(ended);
    let counts = line.split(", ").map(|part| part.split(' ').next().and_then(|count| count.parse::<u64>().ok()));
    let counts: Vec<u64> = counts.map(|count| count.expect("a number")).collect();
    let others: u64 = counts[1..].iter().sum::<u64>() - counts[5];
    assert_eq!(counts[0], others, "{line}");
}

#[test]
fn why_the_connection_ended_is_told_and_is_a_failure() {
    for (reset, told) in [(false, "{} closed the connection"), (true, "the connection to {} broke off (reset)")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
        let pinging = Launch::new(&format!("ping {endpoint} -c 5")).spawn();
        let (stream, _) = listener.accept().expect("it connects");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        assert_eq!(lines.next().expect("a question").expect("a text"), "ping 1");
        drop(lines);
        if reset {
            Socket::from(stream).set_linger(Some(Duration::ZERO)).expect("no lingering");
        } else {
            drop(stream);
        }
        let ended = { pinging }.ends();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.stderr, format!("pingpong: {}, after 1 of 5 questions", told.replace("{}", &endpoint)));
        assert_eq!(summary(&ended), "1 sent, 0 received, 1 lost (100%), 0 late, 0 wrong, 0 duplicate");
    }
}

#[test]
fn server_that_dies_is_a_failure_though_it_has_answered() {
    for (scheme, told) in [("tcp", " closed the connection, after "), ("udp", " refused")] {
        let mut server = Server::start(&format!("ping={scheme}://127.0.0.1:0"));
        let mut pinging = Launch::new(&format!("ping {} -c 50 -i 10ms", server.endpoint("ping", scheme))).spawn();
        eventually("an answer", || pinging.stdout().iter().any(|line| line.contains("seq=2 ")).then_some(()));
        server.stop();
        let ended = pinging.ends();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(told) || summary(&ended).ends_with(told), "{ended:?}");
        assert!(summary(&ended).contains(", 0 lost (0%)") || scheme == "tcp", "{ended:?}");
        adds_up(&ended);
    }
}

#[test]
fn datagrams_that_are_refused_are_counted_as_that_and_not_waited_for() {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("loopback");
    for probe in ["", "--send x --expect y"] {
        // Longer than the test would wait.
        let ended = ping(&format!("udp://{free}"), &format!("{probe} -c 2 -i 1ms -W 1m"));
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert_eq!(summary(&ended), "2 sent, 0 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate, 2 refused");
        assert!(ended.stdout.contains(&format!("no answer from udp://{free}: seq=2 refused")), "{ended:?}");
    }
}

#[test]
fn datagrams_that_cannot_be_sent_are_counted_as_what_the_kernel_says() {
    let server = Server::start("ping=udp://127.0.0.1:0");
    for (probe, error, words) in
        [("", "EMSGSIZE", " too long"), ("--send x --expect pong", "EPERM", " operation not permitted")]
    {
        let mut pinging = Launch::new(&format!("ping {} {probe} -i 1ms", server.endpoint("ping", "udp"))).spawn();
        // Before that nobody might be there at all.
        eventually("an answer", || pinging.stdout().iter().any(|line| line.contains("seq=2 ")).then_some(()));
        let Some(strace) = Strace::inject(&pinging, &format!("sendto:error={error}")) else { return };
        eventually("a failure", || (strace.injected() > 2).then_some(()));
        pinging.signal(Signal::SIGINT);
        let ended = pinging.ends();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(summary(&ended).contains(words), "{ended:?}");
        adds_up(&ended);
    }
}

#[test]
fn interrupted_run_calls_nothing_lost_whose_time_is_not_over() {
    let deaf = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    deaf.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let endpoint = format!("udp://{}", deaf.local_addr().expect("bound"));
    let mut pinging = Launch::new(&format!("ping {endpoint} -i 1ms -W 1m")).spawn();
    deaf.recv(&mut [0; 100]).expect("a question");
    pinging.signal(Signal::SIGINT);
    let ended = pinging.ends();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(summary(&ended).contains(", 0 lost (0%)") && summary(&ended).ends_with(" under way"), "{ended:?}");
    adds_up(&ended);
}

#[test]
fn server_that_does_not_read_is_told_and_bounds_what_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    // Without end, if nothing were bounded.
    let ended = ping(&format!("tcp://{address}"), "-i 1ms -s 1MiB");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = format!("pingpong: tcp://{address} does not read, ");
    assert!(ended.stderr.starts_with(&told), "{ended:?}");
    adds_up(&ended);
}

#[test]
fn address_that_refuses_datagrams_is_left_before_anything_is_counted() {
    if !root() || !tool("unshare") {
        return;
    }
    let folder = Folder::new();
    fs::write(folder.file("hosts"), "::1 twins\n127.0.0.1 twins\n").expect("a file");
    let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", folder.file("hosts").display());
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = Server::start(&format!("ping=udp://{address}"));
        let endpoint = format!("udp://twins:{}", server.udp("ping").port());
        for probe in [&[][..], &["--send", "x", "--expect", "pong"]] {
            let words = ["--mount", "sh", "-c", &script, BINARY, "ping", &endpoint, "-c", "3", "-i", "1ms"];
            let ended = Talk::program("unshare", &[&words[..], probe].concat()).run();
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert_eq!(summary(&ended), "3 sent, 3 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate");
        }
    }
}
