//! How a conversation ends, and what is said of that.

use std::io::Read;
use std::time::Duration;

use socket2::Socket;

use super::super::talk::{Talk, Talker};
use super::{fails, listener};

#[test]
fn a_conversation_that_breaks_off_exits_1() {
    let (listener, endpoint) = listener();
    let accept = |client: &mut Talker| {
        let (mut server, _) = listener.accept().unwrap();
        client.may_type("one\n");
        let mut heard = [0; 100];
        assert_eq!(server.read(&mut heard).unwrap(), "one\n".len());
        server
    };
    for scripted in [&["one", "two"][..], &[]] {
        let mut client = Talk::client(&endpoint, scripted).start();
        let server = accept(&mut client);
        Socket::from(server).set_linger(Some(Duration::ZERO)).unwrap();
        fails(&client.ends(), 1, &[&endpoint, "reset"]);
    }
    // The server closes before the last message.
    let mut client = Talk::client(&endpoint, &["one", "two"]).start();
    drop(accept(&mut client));
    fails(&client.ends(), 1, &[&endpoint, "closed the connection"]);
    // The server closes where the last answer would come.
    let mut client = Talk::client(&endpoint, &["one"]).start();
    drop(accept(&mut client));
    assert_eq!(client.ends_well(), "");
}
