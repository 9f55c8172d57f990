//! Which answers leave together, and what becomes of those that cannot.

use fake::server::{Server, address};
use nix::libc::{EACCES, ECONNREFUSED, EINVAL, EIO, EMSGSIZE, ENETUNREACH, EPERM};
use pingpong::service::{Dial, Echo, Input, Outbox, Peer, Service};

use crate::{echo, ping};

const ANNE: &str = "127.0.0.1:4000";
const BERT: &str = "127.0.0.1:4001";

fn echo_server() -> Server<Echo> {
    let mut server = echo();
    server.bind("127.0.0.1:50007");
    server
}

/// The server has received these datagrams in one batch, and answered.
fn receives<S: Service>(server: &mut Server<S>, datagrams: &[(&str, &str)]) {
    for (from, text) in datagrams {
        server.arrives(0, from, text);
    }
    server.settle();
}

/// The server has received these from one client.
fn hears_from_anne(server: &mut Server<Echo>, texts: &[&str]) {
    receives(server, &texts.iter().map(|text| (ANNE, *text)).collect::<Vec<_>>());
}

/// What has been sent since the last call.
fn sent<S>(server: &Server<S>) -> Vec<String> {
    let sent = std::mem::take(&mut server.kernel.borrow_mut().datagrams[0].sent);
    sent.into_iter().map(|(_, _, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// How many answers each call sent, or tried to, that was for several; since the last look.
fn runs<S>(server: &Server<S>) -> Vec<usize> {
    std::mem::take(&mut server.kernel.borrow_mut().datagrams[0].runs)
}

#[test]
fn answers_of_one_size_to_one_peer_leave_in_one_call() {
    let mut server = echo_server();
    hears_from_anne(&mut server, &["a1", "a2", "a3"]);
    assert_eq!((sent(&server), runs(&server)), (vec!["a1".into(), "a2".into(), "a3".into()], vec![3]));
    assert_eq!((server.stats().datagrams_in, server.stats().datagrams_out), (3, 3));
    let to: Vec<_> = server.kernel.borrow().datagrams[0].sent.iter().map(|(to, ..)| to.clone()).collect();
    assert!(to.iter().all(|to| *to == address(ANNE)));
}

#[test]
fn another_peer_another_size_and_an_empty_one_end_a_run() {
    let mut server = echo_server();
    let datagrams = [
        (ANNE, "a1"),
        (ANNE, "a2"),
        (BERT, "b1"),
        (ANNE, "a3"),
        (ANNE, "a4"),
        (ANNE, "a"),
        (ANNE, "a6"),
        (ANNE, "a7"),
        (ANNE, "a8 is longer"),
        (ANNE, ""),
        (ANNE, ""),
        (ANNE, "a11"),
    ];
    receives(&mut server, &datagrams);
    assert_eq!(sent(&server), datagrams.map(|(_, text)| text.to_owned()), "in the order of the questions");
    assert_eq!(runs(&server), [2, 3, 2]);
    assert_eq!(server.stats().datagrams_out, datagrams.len() as u64);
}

#[test]
fn an_answer_that_nothing_follows_leaves_as_it_always_did() {
    let mut server = echo_server();
    for _ in 0..3 {
        receives(&mut server, &[(ANNE, "a"), (BERT, "b")]);
    }
    assert_eq!((sent(&server).len(), runs(&server)), (6, vec![]));
}

#[test]
fn a_run_lasts_no_longer_than_its_batch() {
    let mut server = echo_server();
    let texts: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    hears_from_anne(&mut server, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((sent(&server), runs(&server)), (texts, vec![32, 32, 32, 4]));
}

#[test]
fn a_run_has_the_bytes_of_one_datagram_at_most() {
    let mut server = echo_server();
    let texts = ["a", "b", "c", "d", "e"].map(|letter| letter.repeat(20_000));
    hears_from_anne(&mut server, &texts.each_ref().map(String::as_str));
    assert_eq!(sent(&server), texts);
    assert_eq!(runs(&server), [3, 2]);
}

#[test]
fn what_is_not_answered_neither_joins_a_run_nor_keeps_it_back() {
    let mut server = ping();
    server.bind("127.0.0.1:8888");
    receives(&mut server, &[(ANNE, "ping 1"), (ANNE, "pong 2"), (ANNE, "ping 3"), (ANNE, "pong 4")]);
    assert_eq!((sent(&server), runs(&server)), (vec!["pong 1".into(), "pong 3".into()], vec![2]));
    receives(&mut server, &[(ANNE, "ping 5"), (ANNE, "pong 6")]);
    assert_eq!((sent(&server), runs(&server)), (vec!["pong 5".into()], vec![]));
    assert_eq!((server.stats().loops, server.stats().datagrams_out), (3, 3));
}

#[test]
fn a_budget_ends_within_a_run() {
    let mut server = Server::limited(Echo, |limits| limits.udp_budget = std::num::NonZeroU32::new(2));
    server.bind("10.0.0.1:50007");
    receives(&mut server, &[("192.0.2.1:4000", "a1"), ("192.0.2.1:4000", "a2"), ("192.0.2.1:4000", "a3")]);
    assert_eq!((sent(&server), runs(&server)), (vec!["a1".into(), "a2".into()], vec![2]));
    assert_eq!((server.stats().datagrams_out, server.stats().over_budget), (2, 1));
}

#[test]
fn answers_from_several_local_addresses_leave_in_several_runs() {
    let mut server = echo();
    server.bind("0.0.0.0:50007");
    let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().ok());
    for local in [one, one, two, two] {
        server.kernel.borrow_mut().datagram_arrives(0, address(ANNE), local, b"x");
    }
    server.settle();
    assert_eq!(runs(&server), [2, 2]);
    let from: Vec<_> =
        server.kernel.borrow().datagrams[0].sent.iter().map(|(_, from, _)| from.map(|from| from.ip)).collect();
    assert_eq!(from, [one, one, two, two]);
}

#[test]
fn singly_means_a_call_for_each() {
    let mut server = echo_server();
    server.engine.send_datagrams_singly();
    hears_from_anne(&mut server, &["a1", "a2", "a3"]);
    assert_eq!((sent(&server).len(), runs(&server)), (3, vec![]));
}

#[test]
fn unix_sockets_are_asked_for_a_run_once() {
    let mut server = echo();
    server.bind("/run/echo");
    for _ in 0..3 {
        receives(&mut server, &[("/run/client", "a1"), ("/run/client", "a2")]);
    }
    assert_eq!((sent(&server).len(), runs(&server)), (6, vec![2]));
}

#[test]
fn run_without_room_waits_as_a_whole_and_in_order() {
    let mut server = echo_server();
    server.kernel.borrow_mut().datagrams[0].room = 2;
    let datagrams = [(ANNE, "a1"), (ANNE, "a2"), (BERT, "b1"), (BERT, "b2"), (BERT, "b3"), (ANNE, "a3"), (ANNE, "a4")];
    receives(&mut server, &datagrams);
    assert_eq!((sent(&server), runs(&server)), (vec!["a1".into(), "a2".into()], vec![2, 3]));
    assert!(server.kernel.borrow().datagrams[0].armed);
    assert_eq!((server.stats().datagrams_out, server.stats().dropped), (2, 0));

    // What comes meanwhile waits behind it, and no run is tried.
    server.kernel.borrow_mut().datagrams[0].room = 0;
    receives(&mut server, &[(BERT, "b4"), (BERT, "b5")]);
    assert_eq!((sent(&server), runs(&server)), (vec![], vec![]));
    server.kernel.borrow_mut().datagram_room(0, usize::MAX);
    server.settle();
    let heard = sent(&server);
    let heard_by = |name: &str| heard.iter().filter(|text| text.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(heard_by("a"), ["a3", "a4"]);
    assert_eq!(heard_by("b"), ["b1", "b2", "b3", "b4", "b5"]);
    assert_eq!((server.stats().datagrams_out, server.stats().dropped), (9, 0));
    assert!(!server.kernel.borrow().datagrams[0].armed);

    hears_from_anne(&mut server, &["a5", "a6"]);
    assert_eq!(runs(&server), [2], "and then runs are sent again");
}

#[test]
fn interrupted_run_is_repeated() {
    let mut server = echo_server();
    server.kernel.borrow_mut().datagrams[0].run_errors.push_back(nix::libc::EINTR);
    hears_from_anne(&mut server, &["a1", "a2"]);
    assert_eq!((sent(&server).len(), runs(&server)), (2, vec![2, 2]));
}

#[test]
fn too_long_for_a_packet_is_remembered_by_length() {
    let mut server = echo_server();
    server.kernel.borrow_mut().datagrams[0].longest_segment = Some(10);
    let long = "a".repeat(11);
    for _ in 0..3 {
        hears_from_anne(&mut server, &[&long, &long, &long]);
        assert_eq!(sent(&server).len(), 3);
    }
    assert_eq!(runs(&server), [3], "not tried again");
    hears_from_anne(&mut server, &["0123456789", "0123456789"]);
    assert_eq!((sent(&server).len(), runs(&server)), (2, vec![2]), "shorter ones still leave together");
    assert_eq!((server.stats().datagrams_out, server.stats().dropped), (11, 0));
}

#[test]
fn where_the_interface_cannot_no_run_is_tried_again() {
    let mut server = echo_server();
    server.kernel.borrow_mut().datagrams[0].run_errors.push_back(EIO);
    for _ in 0..3 {
        hears_from_anne(&mut server, &["a1", "a2", "a3"]);
        assert_eq!(sent(&server), ["a1", "a2", "a3"]);
    }
    assert_eq!(runs(&server), [3]);
    assert_eq!((server.stats().datagrams_out, server.stats().dropped), (9, 0));
}

#[test]
fn what_cannot_be_sent_either_way_is_dropped_and_no_reason_to_send_singly() {
    for error in [EINVAL, EMSGSIZE, EPERM, EACCES, ENETUNREACH] {
        let mut server = echo_server();
        server.kernel.borrow_mut().datagrams[0].send_error = Some(error);
        hears_from_anne(&mut server, &["a1", "a2", "a3"]);
        assert_eq!((server.stats().dropped, server.stats().datagrams_out), (3, 0), "{error}");
        server.kernel.borrow_mut().datagrams[0].send_error = None;
        hears_from_anne(&mut server, &["a1", "a2", "a3"]);
        assert_eq!((sent(&server).len(), runs(&server)), (3, vec![3, 3]), "{error}");
    }
}

/// Asks from one socket, answers each answer with the next question, and notes what failed.
#[derive(Default)]
struct Asker {
    failed: usize,
    /// Beside its reply it sends another question.
    sends: bool,
    /// It closes the socket at this answer.
    leaves_at: Option<&'static [u8]>,
}

impl Service for Asker {
    fn received(&mut self, from: Peer, input: &mut Input<'_>, out: &mut Outbox<'_>) {
        let answer = input.take_rest().to_vec();
        out.reply(&answer);
        if self.sends {
            out.send(from, b"beside");
        }
        if self.leaves_at == Some(&answer) {
            out.close_other(from);
        }
    }

    fn failed(&mut self, _: Option<Peer>, _: std::io::Error, _: &mut Outbox<'_>) {
        self.failed += 1;
    }
}

fn asking(asker: Asker) -> Server<Asker> {
    let mut server = Server::new(asker);
    server.with(|_, out| out.ask(Dial::from(&address(BERT))));
    server
}

#[test]
fn questions_leave_in_runs_too() {
    let mut server = asking(Asker::default());
    receives(&mut server, &[(BERT, "1"), (BERT, "2"), (BERT, "3")]);
    assert_eq!((sent(&server), runs(&server)), (vec!["1".into(), "2".into(), "3".into()], vec![3]));
}

#[test]
fn questions_of_one_callback_leave_in_runs() {
    let mut server = asking(Asker::default());
    server.with(|_, out| out.ask(Dial::from(&address(BERT))));
    server.with(|_, out| {
        for (socket, text) in [(0, "1"), (0, "2"), (0, "3"), (1, "1"), (0, "4"), (1, "2"), (1, "3"), (7, "none")] {
            out.send(Peer::Datagram(socket), text.as_bytes());
        }
    });
    assert_eq!((sent(&server), runs(&server)), (["1", "2", "3", "4"].map(String::from).to_vec(), vec![3]));
    let second = &server.kernel.borrow().datagrams[1];
    let heard: Vec<&[u8]> = second.sent.iter().map(|(_, _, bytes)| &bytes[..]).collect();
    assert_eq!((heard, &second.runs), (vec![&b"1"[..], b"2", b"3"], &vec![2]));
}

#[test]
fn questions_that_find_no_room_wait_and_the_service_is_told() {
    let mut server = asking(Asker::default());
    server.kernel.borrow_mut().datagrams[0].room = 0;
    server.with(|_, out| (0..3).for_each(|_| out.send(Peer::Datagram(0), b"x")));
    assert!(!server.with(|_, out| out.has_room_for(Peer::Datagram(0))));
    server.kernel.borrow_mut().datagram_room(0, 10);
    server.settle();
    assert!(server.with(|_, out| out.has_room_for(Peer::Datagram(0))));
    assert_eq!((sent(&server).len(), runs(&server)), (3, vec![3]));
}

#[test]
fn a_refusal_by_icmp_costs_one_question_and_is_told_once() {
    let mut server = asking(Asker::default());
    server.kernel.borrow_mut().datagrams[0].pending_error = Some(ECONNREFUSED);
    receives(&mut server, &[(BERT, "1"), (BERT, "2"), (BERT, "3")]);
    assert_eq!(sent(&server), ["2", "3"]);
    assert_eq!(server.look(|asker| asker.failed), 1);
    assert_eq!((server.stats().datagrams_out, server.stats().dropped), (2, 0));
}

#[test]
fn what_is_sent_beside_a_run_does_not_overtake_it() {
    let mut server = asking(Asker { sends: true, ..Asker::default() });
    receives(&mut server, &[(BERT, "1"), (BERT, "2")]);
    assert_eq!(sent(&server), ["1", "beside", "2", "beside"]);
}

#[test]
fn a_run_leaves_before_its_socket_is_closed() {
    let mut server = asking(Asker { leaves_at: Some(b"2"), ..Asker::default() });
    receives(&mut server, &[(BERT, "1"), (BERT, "2"), (BERT, "3")]);
    assert_eq!((sent(&server), runs(&server)), (vec!["1".into(), "2".into()], vec![2]));
    assert!(!server.kernel.borrow().datagrams[0].open);
}
