//! The files of Unix sockets: stale ones, those in use, and what is left of them.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use nix::sys::signal::Signal;

use super::support::{Client, DatagramClient, Folder, Launch, Server};

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[test]
fn a_stale_socket_is_replaced() {
    let folder = Folder::new();
    let (stream, gram) = (folder.file("stream"), folder.file("gram"));
    let places = format!("ping=unix://{} ping=unixgram://{}", stream.display(), gram.display());
    let mut killed = Server::start(&places);
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.exit_code(), None);
    assert!(is_socket(&stream) && is_socket(&gram), "SIGKILL leaves them behind");

    let _server = Server::start(&places);
    Client::unix(&stream).ask("ping", "pong");
    DatagramClient::unix(Some(&folder.file("me")), &gram).ask("ping", "pong");
}

#[test]
fn a_live_socket_is_an_error_that_names_it_and_does_it_no_harm() {
    let folder = Folder::new();
    let (stream, gram) = (folder.file("stream"), folder.file("gram"));
    let places = [format!("unix://{}", stream.display()), format!("unixgram://{}", gram.display())];
    let _server = Server::start(&format!("ping={} ping={}", places[0], places[1]));
    for place in &places {
        let second = Launch::new(&format!("serve ping={place}")).run();
        assert_eq!(second.code, Some(3), "{second:?}");
        assert!(second.stderr.starts_with(&format!("pingpong: cannot listen on {place}: address in use (")));
        assert_eq!(second.stderr.lines().count(), 1, "{second:?}");
        assert_eq!(second.stdout, "");
    }
    Client::unix(&stream).ask("ping", "pong");
    DatagramClient::unix(Some(&folder.file("me")), &gram).ask("ping", "pong");
}

#[test]
fn a_second_start_does_not_end_a_live_server_that_serves_once() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let _server = Server::start(&format!("ping=unix://{} --once", place.display()));
    assert_eq!(Launch::new(&format!("serve ping=unix://{}", place.display())).run().code, Some(3));
    Client::unix(&place).ask("ping", "pong");
}

#[test]
fn a_live_socket_of_the_other_kind_or_with_a_full_backlog_is_live_too() {
    let folder = Folder::new();
    let gram = folder.file("gram");
    let _other = UnixDatagram::bind(&gram).unwrap();
    let busy = folder.file("busy");
    let listener = UnixListener::bind(&busy).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _first = Client::unix(&busy);
    for place in [&gram, &busy] {
        let second = Launch::new(&format!("serve ping=unix://{}", place.display())).run();
        assert_eq!(second.code, Some(3), "{second:?}");
        assert!(is_socket(place));
    }
}

#[test]
fn what_is_no_socket_is_not_touched() {
    let folder = Folder::new();
    let (file, link) = (folder.file("file"), folder.file("link"));
    fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for place in [&file, &link] {
        for scheme in ["unix", "unixgram"] {
            let place = format!("{scheme}://{}", place.display());
            let refused = Launch::new(&format!("serve ping={place}")).run();
            assert_eq!(refused.code, Some(3), "{refused:?}");
            assert!(refused.stderr.contains(&place), "{refused:?}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn the_files_are_removed_at_exit() {
    let folder = Folder::new();
    let (stream, gram) = (folder.file("stream"), folder.file("gram"));
    let mut server =
        Server::start(&format!("hello=unix://{} ping=unixgram://{} --delay 1h", stream.display(), gram.display()));
    assert!(is_socket(&stream) && is_socket(&gram));
    server.stop();
    assert!(!stream.exists() && !gram.exists());

    // By a second signal too.
    let mut server = Server::start(&format!("hello=unix://{}", stream.display()));
    let mut client = Client::unix(&stream);
    client.ask("X", "Welcome!");
    server.signal(Signal::SIGTERM);
    server.log("shutting down");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), Some(143));
    assert!(!stream.exists());
}

#[test]
fn a_file_that_another_server_has_put_in_its_place_stays() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let mut first = Server::start(&format!("ping=unix://{}", place.display()));
    fs::remove_file(&place).unwrap();
    let _second = Server::start(&format!("ping=unix://{}", place.display()));
    first.stop();
    Client::unix(&place).ask("ping", "pong");
}

#[test]
fn a_failed_start_leaves_no_file_behind() {
    let folder = Folder::new();
    let (good, bad) = (folder.file("good"), folder.file("no/such/folder"));
    let refused = Launch::new(&format!("serve ping=unix://{} ping=unix://{}", good.display(), bad.display())).run();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(!good.exists());
}

#[test]
fn a_path_that_cannot_be_is_an_error_that_names_it() {
    let folder = Folder::new();
    for scheme in ["unix", "unixgram"] {
        for path in [folder.file(&"x".repeat(108)), folder.file("no/such/folder")] {
            let place = format!("{scheme}://{}", path.display());
            let refused = Launch::new(&format!("serve ping={place}")).run();
            assert_eq!(refused.code, Some(3), "{refused:?}");
            assert!(refused.stderr.starts_with(&format!("pingpong: cannot listen on {place}: ")), "{refused:?}");
            assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        }
    }
}

#[test]
fn the_longest_path_that_can_be_works() {
    let folder = Folder::new();
    let length = folder.file("").as_os_str().len();
    let place = folder.file(&"x".repeat(107 - length));
    let _server = Server::start(&format!("ping=unix://{}", place.display()));
    Client::unix(&place).ask("ping", "pong");
}
