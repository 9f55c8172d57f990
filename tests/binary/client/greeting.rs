//! What the server says first, where that is waited for.

use std::io::{Read, Write};

use super::super::support::Folder;
use super::super::talk::Talk;
use super::{fails, listener, serve};

#[test]
fn waits_for_the_greeting_before_it_speaks() {
    let folder = Folder::new();
    let (_raw, raw) = serve(&folder, "hello", "--delay 10ms");
    let ended = Talk::client(&raw[0], &["--framing", "raw", "--greeting", "Michael", "Tracy", "exit"]).run();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "Welcome!\nHello, Michael!\nHello, Tracy!\n"), "{ended:?}");
    let folder = Folder::new();
    let (_line, line) = serve(&folder, "hello", "--delay 10ms --framing line");
    let ended = Talk::client(&line[2], &["--greeting", "Michael", "exit"]).run();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "Welcome!\nHello, Michael!\n"), "{ended:?}");
}

#[test]
fn a_greeting_without_line_end_is_over_when_nothing_more_comes() {
    let folder = Folder::new();
    let (_server, endpoints) = serve(&folder, "hello", "--delay 10ms");
    for endpoint in [&endpoints[0], &endpoints[2]] {
        for framing in ["line", "raw"] {
            let ended = Talk::client(endpoint, &["--framing", framing, "--greeting", "Bob"]).run();
            assert_eq!((ended.code, &*ended.stdout), (Some(0), "Welcome!\nHello, Bob!\n"), "{framing}: {ended:?}");
        }
        let ended = Talk::client(endpoint, &["--greeting"]).run();
        assert_eq!((ended.code, &*ended.stdout), (Some(0), "Welcome!\n"), "{ended:?}");
    }
}

#[test]
fn a_greeting_ends_with_its_line() {
    let (listener, endpoint) = listener();
    let mut client = Talk::client(&endpoint, &["--greeting", "question"]).start();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    server.write_all(b"wel").unwrap();
    client.sees("wel");
    server.write_all(b"come\nthe answer ").unwrap();
    let mut heard = [0; 100];
    assert_eq!(server.read(&mut heard).unwrap(), "question\n".len());
    server.write_all(b"to that\n").unwrap();
    assert_eq!(client.ends_well(), "come\nthe answer to that\n");
}

#[test]
fn a_greeting_that_does_not_come_exits_4() {
    let (_listener, endpoint) = listener();
    let ended = Talk::client(&endpoint, &["--timeout", "50ms", "--greeting", "Bob"]).run();
    fails(&ended, 4, &["no answer", &endpoint]);
}

#[test]
fn a_greeting_that_trickles_on_is_over_at_the_timeout() {
    let (listener, endpoint) = listener();
    let mut client = Talk::client(&endpoint, &["--timeout", "300ms", "--greeting", "enough"]).start();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nodelay(true).unwrap();
    server.set_read_timeout(Some(std::time::Duration::from_millis(5))).unwrap();
    let mut heard = [0; 100];
    // Never silent for as long as ends a greeting, until the client speaks.
    let count = loop {
        server.write_all(b".").unwrap();
        if let Ok(count) = server.read(&mut heard) {
            break count;
        }
    };
    assert_eq!(&heard[..count], b"enough\n");
    server.write_all(b"\n").unwrap();
    client.ends_well();
}
