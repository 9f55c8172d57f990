//! Unix sockets: streams and datagrams. (Their files: `socket_files`.)

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use fake::Dice;

use super::support::{Client, DatagramClient, Folder, PATIENCE, Server};

#[test]
fn the_three_services_answer_on_unix_streams() {
    let folder = Folder::new();
    let [ping, hello, echo] = ["p", "h", "e"].map(|name| folder.file(name));
    let places =
        format!("ping=unix://{} hello=unix://{} echo=unix://{}", ping.display(), hello.display(), echo.display());
    let mut server = Server::start(&format!("{places} --delay 20ms"));
    assert_eq!(server.endpoint("hello", "unix"), format!("unix://{}", hello.display()));

    let mut client = Client::unix(&ping);
    client.ask("ping 1\r\nx\n", "pong 1\r\npong\n");
    client.say("ping 2");
    client.finish();
    assert_eq!(client.rest(), b"pong 2");

    let mut client = Client::unix(&hello);
    client.hears("Welcome!");
    client.ask("A\nB\n", "Hello, A!\nHello, B!\n");
    client.say("exit\n");
    client.hears_end();
    drop(client);

    let mut client = Client::unix(&echo);
    let noise = Dice::new(4).bytes(1 << 20);
    let mut writer = client.socket().try_clone().unwrap();
    let heard = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::io::Write::write_all(&mut writer, &noise).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        client.rest()
    });
    assert!(heard == noise);
    let stats = server.stop();
    assert_eq!((stats["accepted"], stats["peer"], stats["service"]), (3, 2, 1));
}

#[test]
fn the_three_services_answer_unix_datagrams() {
    let folder = Folder::new();
    let [ping, hello, echo] = ["p", "h", "e"].map(|name| folder.file(name));
    let places = format!(
        "ping=unixgram://{} hello=unixgram://{} echo=unixgram://{}",
        ping.display(),
        hello.display(),
        echo.display()
    );
    let server = Server::start(&places);
    assert_eq!(server.endpoint("echo", "unixgram"), format!("unixgram://{}", echo.display()));
    let client =
        |to: &Path| DatagramClient::unix(Some(&folder.file(&format!("to-{}", to.file_name().unwrap().display()))), to);
    let (ping, hello, echo) = (client(&ping), client(&hello), client(&echo));
    ping.ask("PING 1\r\n", "PONG 1\r\n");
    ping.ask("x", "pong");
    hello.ask("X\n", "Hello, X!\n");
    echo.ask("", "");
    echo.ask(b"\0\xff", b"\0\xff");
    let big = Dice::new(5).bytes(65_507);
    echo.ask(&big, &big);
}

#[test]
fn a_unix_datagram_from_nowhere_is_dropped_and_counted() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("ping=unixgram://{}", place.display()));
    let nameless = DatagramClient::unix(None, &place);
    nameless.say("ping");
    nameless.say("ping");
    DatagramClient::unix(Some(&folder.file("me")), &place).ask("ping 3", "pong 3");
    let stats = server.stats();
    assert_eq!((stats["dropped"], stats["datagrams_in"], stats["datagrams_out"]), (2, 3, 1));
}

#[test]
fn a_unix_datagram_from_an_abstract_name_is_answered() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let _server = Server::start(&format!("ping=unixgram://{}", place.display()));
    let name = place.as_os_str().as_encoded_bytes();
    let client = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"ping", &place).unwrap();
    let mut heard = [0; 8];
    let count = client.recv(&mut heard).unwrap();
    assert_eq!(&heard[..count], b"pong");
}

#[test]
fn a_receiver_of_unix_datagrams_that_has_no_room_keeps_nobody_else_waiting() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("ping=unixgram://{}", place.display()));
    let lazy = DatagramClient::unix(Some(&folder.file("lazy")), &place);
    (0..100).for_each(|n| lazy.say(format!("ping {n}")));
    let quick = DatagramClient::unix(Some(&folder.file("quick")), &place);
    (0..100).for_each(|n| quick.ask(format!("ping {n}"), format!("pong {n}")));
    server.rests();
    (0..100).for_each(|n| lazy.hears(format!("pong {n}")));
    let stats = server.stats();
    assert_eq!((stats["datagrams_out"], stats["dropped"]), (200, 0));
}

/// Sends this many numbered pings without reading. The socket is not connected: then the kernel holds only a few
/// answers for it. (A connected client that reads nothing may fill the server's send buffer.)
fn lazy_client(folder: &Folder, place: &Path, pings: u32) -> UnixDatagram {
    let lazy = UnixDatagram::bind(folder.file("lazy")).unwrap();
    lazy.set_read_timeout(Some(PATIENCE)).unwrap();
    (0..pings).for_each(|number| assert!(lazy.send_to(format!("ping {number}").as_bytes(), place).is_ok()));
    lazy
}

/// The numbers of the next `count` pongs.
fn pongs(lazy: &UnixDatagram, count: u64) -> Vec<u32> {
    let next = |_| {
        let mut heard = [0; 16];
        let count = lazy.recv(&mut heard).unwrap();
        std::str::from_utf8(&heard[..count]).unwrap().strip_prefix("pong ").unwrap().parse().unwrap()
    };
    (0..count).map(next).collect()
}

#[test]
fn answers_that_wait_for_a_receiver_are_bounded_and_the_rest_is_counted() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("ping=unixgram://{}", place.display()));
    let lazy = lazy_client(&folder, &place, 3000);
    let stats = server.stats_once("all have arrived", |stats| stats["datagrams_in"] == 3000);
    assert!((1000..3000).contains(&stats["dropped"]), "{stats:?}");
    DatagramClient::unix(Some(&folder.file("quick")), &place).ask("ping", "pong");
    let mut numbers = pongs(&lazy, 3000 - stats["dropped"]);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len() as u64, 3000 - stats["dropped"], "each but once");
    let stats = server.stats();
    assert_eq!(stats["datagrams_out"] + stats["dropped"], 3001);
}

#[test]
fn answers_that_wait_for_a_receiver_leave_in_order() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("ping=unixgram://{}", place.display()));
    let lazy = lazy_client(&folder, &place, 1000);
    server.stats_once("all have arrived", |stats| stats["datagrams_in"] == 1000);
    assert_eq!(pongs(&lazy, 1000), (0..1000).collect::<Vec<u32>>());
}

#[test]
fn a_unix_datagram_whose_sender_has_gone_is_counted_and_no_more() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let server = Server::start(&format!("ping=unixgram://{}", place.display()));
    server.freeze();
    let gone = folder.file("gone");
    DatagramClient::unix(Some(&gone), &place).say("ping");
    server.thaw();
    DatagramClient::unix(Some(&folder.file("me")), &place).ask("ping", "pong");
    assert_eq!(server.stats()["dropped"], 1);
}

#[test]
fn services_that_are_made_to_talk_over_unix_datagrams_stay_silent() {
    let folder = Folder::new();
    let [ping, echo] = ["p", "e"].map(|name| folder.file(name));
    let server = Server::start(&format!("ping=unixgram://{} echo=unixgram://{}", ping.display(), echo.display()));
    // The forger takes the place of a service's file, and so its name as a source.
    std::fs::rename(&echo, folder.file("moved")).unwrap();
    let forger = DatagramClient::unix(Some(&echo), &ping);
    forger.say("x");
    forger.say("ping 1");
    DatagramClient::unix(Some(&folder.file("me")), &ping).ask("ping 2", "pong 2");
    assert!(forger.pending().is_empty());
    assert_eq!(server.stats()["loop"], 2);
}
