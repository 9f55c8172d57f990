//! Endpoints with a range of ports: what serves them, and what does not take them.
//!
//! Each world is a network namespace: its ports are free.

use super::support::{Client, DatagramClient, Launch, Namespace};

#[test]
fn each_port_of_a_range_is_served_and_announced() {
    let Some(namespace) = Namespace::new() else { return };
    let mut server = namespace.serve("echo=127.0.0.1:7000-7002 ping=tcp://[::1]:7000-7000");
    let lines = [
        "listening echo tcp://127.0.0.1:7000",
        "listening echo tcp://127.0.0.1:7001",
        "listening echo tcp://127.0.0.1:7002",
        "listening echo udp://127.0.0.1:7000",
        "listening echo udp://127.0.0.1:7001",
        "listening echo udp://127.0.0.1:7002",
        "listening ping tcp://[::1]:7000",
        "ready",
    ];
    assert_eq!(server.stdout(), lines);
    namespace.within(|| {
        for port in 7000..=7002 {
            Client::tcp(([127, 0, 0, 1], port).into()).ask("here", "here");
            DatagramClient::udp(([127, 0, 0, 1], port).into()).ask("here", "here");
        }
    });
    assert_eq!(server.stop()["accepted"], 3);
}

#[test]
fn port_of_a_range_that_is_taken_is_named() {
    let Some(namespace) = Namespace::new() else { return };
    let _taken = namespace.serve("ping=tcp://127.0.0.1:7001");
    let ended = namespace.launch("serve ping=tcp://127.0.0.1:7000-7002").run();
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("cannot listen on tcp://127.0.0.1:7001: address in use"), "{ended:?}");
}

#[test]
fn port_that_two_services_would_share_is_a_mistake_of_usage() {
    let mistake = "pingpong: ping=tcp://127.0.0.1:7010-7012 and echo=tcp://127.0.0.1:7012-7013 share port 7012: give each \
                   a port of its own (see --help)";
    for options in ["", "--reuse-port"] {
        let services = "ping=tcp://127.0.0.1:7010-7012 echo=tcp://127.0.0.1:7012-7013";
        let ended = Launch::new(&format!("serve {options} {services}")).run();
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(2), "", mistake));
    }
}

#[test]
fn exposure_of_a_range_is_one_warning() {
    let Some(namespace) = Namespace::new() else { return };
    let mut server = namespace.serve("ping=udp://0.0.0.0:7000-7004");
    let warned: Vec<String> = server.stderr().into_iter().filter(|line| line.contains("forged")).collect();
    assert!(warned.len() == 1 && warned[0].contains("udp://0.0.0.0:7000-7004 answers"), "{warned:?}");
    server.stop();
}

#[test]
fn clients_talk_to_one_port() {
    for command in ["client localhost:7000-7019 x", "ping udp://localhost:7000-7019"] {
        let ended = Launch::new(command).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let words = ["localhost:7000-7019 is a range of ports", "serve and bench", "one port"];
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{ended:?}");
    }
    for command in ["serve ping=tcp://localhost:7019-7000", "bench localhost:0-7"] {
        let ended = Launch::new(command).run();
        assert!(ended.code == Some(2) && ended.stderr.contains("HOST:7000-7019"), "{ended:?}");
    }
}
