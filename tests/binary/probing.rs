//! `pingpong ping`: what it counts, against servers that behave and servers that do not.
//!
//! - `matching`: to which question an answer belongs, where it does not say so
//! - `ends`: how it ends where not all is well

mod ends;
mod matching;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::support::{Ended, Launch, Namespace, PATIENCE, Server, eventually};

#[track_caller]
fn ping(endpoint: &str, options: &str) -> Ended {
    Launch::new(&format!("ping {endpoint} {options}")).run()
}

/// The summary line with the counts.
#[track_caller]
fn summary(ended: &Ended) -> &str {
    let found = ended.stdout.lines().find(|line| line.contains(" sent, "));
    found.unwrap_or_else(|| panic!("no summary: {ended:?}"))
}

/// The endpoint of a listener that takes no more connections: its queue holds one, and the kernel drops further SYNs.
/// It lives as long as the second value.
fn unanswering() -> (String, impl Sized) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback");
    socket.listen(0).expect("it listens");
    let address = socket.local_addr().expect("bound").as_socket().expect("an IP address");
    let waiting = TcpStream::connect(address).expect("the queue holds one");
    (format!("tcp://{address}"), (socket, waiting))
}

/// A UDP server that answers each question with `answers(sequence)`.
fn misbehaving_udp(answers: impl Fn(u64) -> Vec<String> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let address = socket.local_addr().expect("bound");
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let sequence = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
            for answer in answers(sequence) {
                let _ = socket.send_to(answer.as_bytes(), from);
            }
        }
    });
    address
}

#[test]
fn every_kind_of_endpoint_is_asked_and_answers() {
    let folder = super::support::Folder::new();
    let (stream, gram) = (folder.file("s"), folder.file("g"));
    let server =
        Server::start(&format!("ping=127.0.0.1:0 ping=unix://{} ping=unixgram://{}", stream.display(), gram.display()));
    for scheme in ["tcp", "udp", "unix", "unixgram"] {
        let endpoint = server.endpoint("ping", scheme).to_owned();
        let ended = ping(&endpoint, "-c 3 -i 1ms -s 5");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(summary(&ended), "3 sent, 3 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate");
        for sequence in 1..=3 {
            let line = format!("pong from {endpoint}: seq={sequence} time=");
            assert!(ended.stdout.lines().any(|found| found.starts_with(&line) && found.ends_with(" ms")), "{ended:?}");
        }
        assert!(ended.stdout.lines().last().unwrap().starts_with("rtt min/avg/max/mdev = "), "{ended:?}");
    }
}

#[test]
fn no_round_trip_takes_no_time() {
    let server = Server::start("ping=127.0.0.1:0");
    for scheme in ["tcp", "udp"].iter().cycle().take(20) {
        let ended = ping(server.endpoint("ping", scheme), "-c 5 -i 1ms");
        assert!(!ended.stdout.contains("time=0.000 ms"), "{ended:?}");
    }
}

#[test]
fn quiet_says_the_summary_alone() {
    let server = Server::start("ping=127.0.0.1:0");
    let ended = ping(server.endpoint("ping", "tcp"), "-c 2 -i 1ms -q");
    assert_eq!(ended.stdout.lines().count(), 2, "{ended:?}");
}

#[test]
fn echo_and_fixed_texts_are_right_answers_too() {
    let server = Server::start("ping=127.0.0.1:0 echo=127.0.0.1:0");
    for scheme in ["tcp", "udp"] {
        let ended = ping(server.endpoint("echo", scheme), "-c 2 -i 1ms --echo -s 3");
        assert_eq!(summary(&ended), "2 sent, 2 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate");
    }
    let ended = ping(server.endpoint("ping", "tcp"), "-c 2 -i 1ms --send anything\\n --expect pong\\n");
    assert_eq!(summary(&ended), "2 sent, 2 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate");
}

#[test]
fn wrong_bytes_are_told_from_right_ones_and_exit_with_5() {
    let server = Server::start("echo=127.0.0.1:0");
    let ended = ping(server.endpoint("echo", "tcp"), "-c 2 -i 1ms");
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(summary(&ended), "2 sent, 0 received, 0 lost (0%), 0 late, 2 wrong, 0 duplicate");
    assert!(ended.stdout.contains("wrong answer from tcp://"), "{ended:?}");
}

#[test]
fn lost_wrong_and_duplicate_answers_are_told_apart_by_their_sequence() {
    let address = misbehaving_udp(|sequence| match sequence {
        2 => vec![],
        3 => vec!["pong 3".into(), "pong 3".into()],
        4 => vec!["pong 4 and more".into()],
        5 => vec!["pong 99".into(), "pong 5".into()],
        6 => vec!["garbage\x1b[2J".into()],
        sequence => vec![format!("pong {sequence}")],
    });
    let ended = ping(&format!("udp://{address}"), "-c 7 -i 20ms -W 500ms");
    // Garbage counts as the answer to the oldest open question. At 6 that is question 2; so 6 is lost.
    assert_eq!(summary(&ended), "7 sent, 4 received, 1 lost (14%), 0 late, 2 wrong, 2 duplicate");
    assert_eq!(ended.code, Some(5));
    assert!(!ended.stdout.contains('\x1b'), "escaped");
}

#[test]
fn answers_out_of_order_are_matched_by_sequence() {
    let address = misbehaving_udp(|sequence| match sequence {
        1 => vec![],
        2 => vec!["pong 2".into(), "pong 1".into()],
        _ => vec![],
    });
    let ended = ping(&format!("udp://{address}"), "-c 2 -i 20ms");
    assert_eq!(summary(&ended), "2 sent, 2 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate");
}

#[test]
fn answer_after_the_timeout_is_late() {
    // The answer to each question comes with the one after.
    let address = misbehaving_udp(|sequence| match sequence {
        1 => vec![],
        sequence => vec![format!("pong {}", sequence - 1)],
    });
    let ended = ping(&format!("udp://{address}"), "-c 3 -i 100ms -W 50ms");
    assert_eq!(summary(&ended), "3 sent, 0 received, 1 lost (33%), 2 late, 0 wrong, 0 duplicate");
    assert_eq!(ended.code, Some(0));
}

#[test]
fn schedule_does_not_wait_for_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let heard = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("it connects");
        BufReader::new(stream).lines().map_while(Result::ok).count()
    });
    let ended = ping(&format!("tcp://{address}"), "-c 5 -i 1ms -W 100ms");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(summary(&ended), "5 sent, 0 received, 5 lost (100%), 0 late, 0 wrong, 0 duplicate");
    assert_eq!(heard.join().expect("it counts"), 5);
}

#[test]
fn reply_sets_off_no_question() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it connects");
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        let mut count = 0;
        while let Some(Ok(line)) = lines.next() {
            count += 1;
            let answer = line.replace("ping", "pong");
            // The answer, and three datagrams too many.
            let _ = stream.write_all(format!("{answer}\n{answer}\n{answer}\npong 77\n").as_bytes());
        }
        count
    });
    let ended = ping(&format!("tcp://{address}"), "-c 3 -i 20ms");
    assert_eq!(heard.join().expect("it counts"), 3, "{ended:?}");
    assert!(summary(&ended).starts_with("3 sent, 3 received, 0 lost (0%)"), "{ended:?}");
}

#[test]
fn heavy_loss_hints_at_the_budget_of_another_host_only() {
    let Some((here, there)) = Namespace::pair() else { return };
    // Nobody reads there.
    let [far, near] = ["10.77.0.1:0", "127.0.0.1:0"].map(|at| here.within(|| UdpSocket::bind(at).expect("an address")));
    let ping = |from: &Namespace, socket: &UdpSocket, probe: &str| {
        let address = socket.local_addr().expect("bound");
        let ended = from.launch(&format!("ping udp://{address} {probe} -c 2 -i 1ms -W 50ms")).run();
        assert_eq!(summary(&ended), "2 sent, 0 received, 2 lost (100%), 0 late, 0 wrong, 0 duplicate");
        ended.stdout.contains("--udp-budget")
    };
    for probe in ["--echo", "--send x --expect y"] {
        assert!(ping(&there, &far, probe), "{probe}: another host may have had enough");
        assert!(!ping(&here, &near, probe), "{probe}: loopback has no budget");
    }
    assert!(!ping(&there, &far, ""), "proper pings need no budget");
}

#[test]
fn nobody_there_is_3_and_one_line() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback");
    let ended = ping(&format!("tcp://{free}"), "-c 1");
    assert_eq!(ended.code, Some(3));
    assert_eq!(
        ended.stderr,
        format!("pingpong: cannot connect to tcp://{free}: connection refused (is a server running there?)")
    );
}

#[test]
fn interrupt_ends_every_command_while_it_looks_a_name_up() {
    let Some(namespace) = Namespace::new() else { return };
    // A name server that does not answer.
    namespace.configure("resolv.conf", "nameserver 127.0.0.1\n");
    let names = namespace.within(|| UdpSocket::bind("127.0.0.1:53").expect("nobody else is there"));
    names.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let commands = [
        "ping tcp://slow.example:1",
        "client tcp://slow.example:1",
        "client udp://slow.example:1 hi",
        "serve ping=tcp://slow.example:1",
    ];
    let bench = cfg!(feature = "bench").then_some("bench tcp://slow.example:1");
    for command in commands.into_iter().chain(bench) {
        let mut looking = namespace.launch(command).spawn();
        names.recv(&mut [0; 512]).expect("a question");
        looking.signal(nix::sys::signal::Signal::SIGINT);
        assert_eq!(looking.exit_code(), None, "{command}: the signal has killed it");
        // Questions that were asked for the second kind of address.
        names.set_nonblocking(true).expect("non-blocking");
        while names.recv(&mut [0; 512]).is_ok() {}
        names.set_nonblocking(false).expect("blocking");
    }
}

#[test]
fn interrupt_ends_it_at_once_while_it_connects() {
    let (endpoint, _listener) = unanswering();
    let mut connecting = Launch::new(&format!("ping {endpoint}")).spawn();
    connecting.rests();
    connecting.signal(nix::sys::signal::Signal::SIGINT);
    let ended = connecting.ends();
    assert_eq!((ended.code, &*ended.stderr), (Some(1), ""), "no drain is waited for");
    assert!(summary(&ended).starts_with("0 sent"), "{ended:?}");

    for message in ["", "hi"] {
        let mut connecting = Launch::new(&format!("client {endpoint} {message}")).spawn();
        connecting.rests();
        connecting.signal(nix::sys::signal::Signal::SIGINT);
        assert_eq!(connecting.exit_code(), None, "the signal has killed it");
    }
}

#[test]
fn an_address_that_does_not_answer_is_given_up() {
    let (endpoint, _listener) = unanswering();
    let ended = ping(&endpoint, "-c 1 -W 50ms");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains(&endpoint) && ended.stderr.contains("--timeout"), "{ended:?}");
}

#[test]
fn questions_and_answers_may_be_long() {
    let server = Server::start("echo=127.0.0.1:0");
    let ended = ping(server.endpoint("echo", "tcp"), "-c 2 -i 1ms -s 6MiB --echo");
    assert_eq!(summary(&ended), "2 sent, 2 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate", "{ended:?}");
    let ended = ping(server.endpoint("echo", "udp"), "-c 2 -i 1ms -s 65400 --echo");
    assert_eq!(summary(&ended), "2 sent, 2 received, 0 lost (0%), 0 late, 0 wrong, 0 duplicate", "{ended:?}");
    let ended = ping(server.endpoint("echo", "udp"), "-c 2 -s 64KiB --echo");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("65507"), "{ended:?}");
}

#[test]
fn interrupt_ends_with_the_summary() {
    let server = Server::start("ping=127.0.0.1:0");
    let mut pinging = Launch::new(&format!("ping {} -i 1ms", server.endpoint("ping", "tcp"))).spawn();
    let says = |pinging: &Server, text: &str| {
        eventually(text, || pinging.stdout().iter().any(|line| line.contains(text)).then_some(()));
    };
    says(&pinging, "seq=3 ");
    pinging.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(pinging.exit_code(), Some(0));
    says(&pinging, " sent, ");
    says(&pinging, "rtt min/avg/max/mdev");
}
