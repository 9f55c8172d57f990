//! The files of Unix sockets: stale ones, those in use, and what is left of them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;

use super::support::{Client, DatagramClient, Folder, Launch, Server, Strace, eventually, tool};

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

/// The file of a socket that nobody serves any more.
fn leave_stale_socket(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

#[test]
fn of_two_starts_that_both_meet_a_stale_socket_one_serves_and_the_other_says_why_not() {
    if !tool("strace") {
        return;
    }
    for scheme in ["unix", "unixgram"] {
        let folder = Folder::new();
        let (place, log) = (folder.file("ping"), folder.file("log"));
        leave_stale_socket(&place);
        let command = format!("serve ping={scheme}://{}", place.display());
        // It looks at the file, and takes its time to remove it.
        let strace = strace(&log, &["trace=connect,unlink,unlinkat", "inject=unlink,unlinkat:delay_enter=300000"]);
        let slow = Launch::within(&strace, &command).spawn();
        eventually("it has looked", || fs::read_to_string(&log).ok()?.contains("connect(").then_some(()));
        let second = Launch::new(&command).run();
        assert_eq!(second.code, Some(3), "{second:?}");
        assert!(second.stderr.contains(": address in use ("), "{second:?}");
        eventually("the first is ready", || slow.stdout().contains(&"ready".to_owned()).then_some(()));
        ask(scheme, &place);
    }
}

#[test]
fn of_many_starts_at_once_one_serves_and_the_others_say_why_not() {
    for (round, scheme) in ["unix", "unixgram", "unix", "unixgram"].into_iter().enumerate() {
        let folder = Folder::new();
        let place = folder.file("ping");
        if round < 2 {
            leave_stale_socket(&place);
        }
        let start = |_| Launch::new(&format!("serve ping={scheme}://{}", place.display())).spawn();
        let mut servers: Vec<Server> = (0..16).map(start).collect();
        let is_ready = |server: &Server| server.stdout().contains(&"ready".to_owned());
        for server in &servers {
            eventually("it is ready or gives up", || (is_ready(server) || server.state() == 'Z').then_some(()));
        }
        let (ready, refused): (Vec<&mut Server>, Vec<_>) = servers.iter_mut().partition(|server| is_ready(server));
        assert_eq!(ready.len(), 1);
        for refused in refused {
            let refused = refused.ends();
            assert_eq!(refused.code, Some(3), "{refused:?}");
            assert!(refused.stderr.contains(": address in use ("), "{refused:?}");
        }
        ask(scheme, &place);
    }
}

/// Has the server at this path answer.
#[track_caller]
fn ask(scheme: &str, place: &Path) {
    match scheme {
        "unix" => Client::unix(place).ask("ping", "pong"),
        _ => DatagramClient::unix(Some(&place.with_extension("client")), place).ask("ping", "pong"),
    }
}

/// strace(1) for a command that it starts, which stays our child (-D).
fn strace<'a>(log: &'a Path, options: &[&'a str]) -> Vec<&'a str> {
    let log = log.to_str().expect("a temporary folder has a plain name");
    let options = options.iter().flat_map(|option| ["-e", option]);
    ["strace", "-D", "-qq", "-o", log].into_iter().chain(options).collect()
}

#[test]
fn a_socket_that_may_not_be_written_to_is_no_server_that_answers() {
    if !tool("strace") {
        return;
    }
    let folder = Folder::new();
    let (place, log) = (folder.file("ping"), folder.file("log"));
    leave_stale_socket(&place);
    // The kernel asks nothing of root, as whom tests may run.
    let strace = strace(&log, &["trace=connect", "inject=connect:error=EACCES"]);
    let refused = Launch::within(&strace, &format!("serve ping=unix://{}", place.display())).run();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stderr.contains(": permission denied ("), "{refused:?}");
    assert!(is_socket(&place));
}

#[test]
fn a_locked_folder_keeps_nobody_from_starting() {
    let folder = Folder::new();
    let place = folder.file("ping");
    leave_stale_socket(&place);
    let lock = fs::File::open(place.parent().unwrap()).unwrap();
    lock.lock().unwrap();
    let _server = Server::start(&format!("ping=unix://{}", place.display()));
    Client::unix(&place).ask("ping", "pong");
}

#[test]
fn no_client_finds_a_file_whose_listener_has_gone() {
    let folder = Folder::new();
    let place = folder.file("ping");
    let mut server = Server::start(&format!("ping=unix://{}", place.display()));
    let Some(_strace) = Strace::inject(&server, "unlink,unlinkat:delay_enter=200000") else { return };
    server.signal(Signal::SIGTERM);
    server.log("shutting down");
    eventually("the file has gone", || match UnixStream::connect(&place) {
        Ok(_) => None,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "the file is there, the listener is not");
            Some(())
        }
    });
    assert_eq!(server.exit_code(), Some(0));
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
fn permissions_are_those_that_were_asked_for_whatever_the_umask() {
    let folder = Folder::new();
    for (umask, option, expected) in [
        ("022", "", 0o755),
        ("077", "", 0o700),
        ("000", "--unix-mode 0660", 0o660),
        ("077", "--unix-mode 0666", 0o666),
        ("022", "--unix-mode 600", 0o600),
    ] {
        let (stream, gram) = (folder.file("stream"), folder.file("gram"));
        let places = format!("ping=unix://{} ping=unixgram://{} {option}", stream.display(), gram.display());
        let mut server =
            Launch::shell(&format!("umask {umask}; exec \"$0\" \"$@\""), &format!("serve {places}")).start();
        for place in [&stream, &gram] {
            let mode = fs::symlink_metadata(place).unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, expected, "{mode:o} instead of {expected:o} with umask {umask} {option}");
        }
        server.stop();
    }
}

#[test]
fn nobody_gets_in_before_the_permissions_are_there() {
    if !tool("strace") {
        return;
    }
    let folder = Folder::new();
    let (place, log) = (folder.file("ping"), folder.file("log"));
    let strace = strace(&log, &["trace=fchmod,bind,chmod,fchmodat,listen"]);
    let _server = Launch::within(&strace, &format!("serve ping=unix://{} --unix-mode 0660", place.display())).start();
    let calls = fs::read_to_string(&log).unwrap();
    let names: Vec<&str> = calls.lines().filter_map(|line| line.split('(').next()).collect();
    assert_eq!(names, ["fchmod", "bind", "chmod", "listen"], "{calls}");
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
fn a_directory_is_called_one() {
    let folder = Folder::new();
    let place = folder.file("runs");
    fs::create_dir(&place).unwrap();
    for scheme in ["unix", "unixgram"] {
        let place = format!("{scheme}://{}", place.display());
        let refused = Launch::new(&format!("serve ping={place}")).run();
        let told = format!("pingpong: cannot listen on {place}: the path is a directory (name a file in it)");
        assert_eq!((refused.code, refused.stderr), (Some(3), told));
    }
    assert!(place.is_dir());
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
