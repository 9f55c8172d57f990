//! Properties that hold for any bytes: how a stream is cut into reads changes no answer, and nothing that a peer sends
//! brings the server down.

use std::time::Duration;

use fake::server::Server;
use pingpong::engine::Usage;
use pingpong::service::{Echo, Framing, Hello, Ping, Service};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::Config;

/// The longest line that the server takes.
const LONGEST: usize = 5000;

const DELAY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ping,
    Hello,
    HelloAtOnce,
    Echo,
}

const KINDS: [Kind; 4] = [Kind::Ping, Kind::Hello, Kind::HelloAtOnce, Kind::Echo];
const FRAMINGS: [Framing; 3] = [Framing::Auto, Framing::Line, Framing::Raw];

impl Kind {
    fn service(self, framing: Framing) -> Box<dyn Service> {
        match self {
            Self::Ping => Box::new(Ping::new(framing)),
            Self::Hello => Box::new(Hello::new(framing, DELAY)),
            Self::HelloAtOnce => Box::new(Hello::new(framing, Duration::ZERO)),
            Self::Echo => Box::new(Echo),
        }
    }
}

/// How a client's bytes reach the server, and its answers the client.
#[derive(Clone, Copy, Debug)]
struct Way {
    is_unix: bool,
    /// The most bytes that one read of a Unix stream returns.
    boundary: usize,
    /// How many bytes of answers fit on the way to the client.
    room: usize,
    /// Each chunk is read before the next is sent.
    one_by_one: bool,
}

const PLAIN: Way = Way { is_unix: false, boundary: usize::MAX, room: 1 << 30, one_by_one: true };

fn ways() -> impl Strategy<Value = Way> {
    let room = prop_oneof![1usize..20, 1000usize..100_000, Just(1 << 30)];
    let boundary = prop_oneof![1usize..5000, Just(usize::MAX)];
    (any::<bool>(), boundary, room, any::<bool>()).prop_map(|(is_unix, boundary, room, one_by_one)| Way {
        is_unix,
        boundary,
        room,
        one_by_one,
    })
}

/// All that a client reads that sends these chunks and finishes. At the end the engine holds nothing.
#[track_caller]
fn conversation(service: Box<dyn Service>, chunks: &[Vec<u8>], way: Way) -> Vec<u8> {
    let mut server = Server::limited(service, |limits| limits.max_message = LONGEST);
    let client = if way.is_unix { server.open_unix(way.room) } else { server.open_with_room(way.room) };
    server.kernel.borrow_mut().connections[client].boundary = way.boundary;
    for chunk in chunks {
        server.says(client, chunk);
        if way.one_by_one {
            server.settle();
        }
    }
    server.finishes(client);
    let mut heard = Vec::new();
    for _ in 0..1_000_000 {
        server.pass(DELAY);
        let bytes = server.hears_bytes(client, usize::MAX);
        if bytes.is_empty() && server.is_closed(client) {
            assert!(!server.kernel.borrow().connections[client].client_was_reset);
            assert_eq!(server.engine.usage(), Usage::default());
            return heard;
        }
        heard.extend(bytes);
    }
    panic!("it never ends");
}

/// Lines as clients send them: questions, commands, empty and long ones, some of arbitrary bytes.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec!["ping", "PING 7 abc", "ping\t", "pingping", "", "Michael", "pong", "\r"]);
    let text = prop_oneof![
        5 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => Just(b"exit".to_vec()),
        2 => vec(any::<u8>(), 0..40),
        // Never over the limit, whatever stands before it.
        1 => (900..LONGEST - 600).prop_map(|length| [&vec![b'x'; length], &b"\n"[..]].concat()),
    ];
    let end = select(vec!["\n", "\r\n", ""]);
    let line = (text, end).prop_map(|(text, end)| [&text, end.as_bytes()].concat());
    vec(line, 0..12).prop_map(|lines| lines.concat())
}

/// A script and places to cut it.
fn cut_script() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<u8>>)> {
    (script(), vec(any::<Index>(), 0..12)).prop_map(|(script, cuts)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(script.len() + 1)).collect();
        cuts.extend([0, script.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|ends| script[ends[0]..ends[1]].to_vec()).filter(|chunk| !chunk.is_empty());
        let chunks = chunks.collect();
        (script, chunks)
    })
}

fn config(cases: u32) -> Config {
    // A failing case is printed, to be made a test of its own; no file of seeds is kept.
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn any_cut_of_a_stream_of_lines_gets_the_same_answers((script, chunks) in cut_script(), way in ways()) {
        for kind in KINDS {
            let whole = conversation(kind.service(Framing::Line), std::slice::from_ref(&script), PLAIN);
            let cut = conversation(kind.service(Framing::Line), &chunks, way);
            prop_assert!(whole == cut, "{kind:?}: {} instead of {}", cut.escape_ascii(), whole.escape_ascii());
        }
    }

    #[test]
    fn over_long_line_loses_no_answer_before_it(
        (script, mut chunks) in cut_script(),
        more in 1usize..100,
        way in ways(),
    ) {
        // Lines before it, whatever comes behind it.
        let script = [&script, &b"\n"[..]].concat();
        chunks.extend([b"\n".to_vec(), vec![b'x'; LONGEST + more], b"\nping\n".to_vec()]);
        let before = conversation(Box::new(Ping::new(Framing::Line)), &[script], PLAIN);
        prop_assert!(conversation(Box::new(Ping::new(Framing::Line)), &chunks, way) == before);
    }

    #[test]
    fn echo_gives_back_what_it_got((script, chunks) in cut_script(), way in ways()) {
        prop_assert!(conversation(Box::new(Echo), &chunks, way) == script);
    }

    #[test]
    fn first_chunk_with_a_line_end_means_lines_however_the_rest_is_cut(
        (script, chunks) in cut_script(),
        way in ways(),
    ) {
        let way = Way { one_by_one: true, boundary: usize::MAX, ..way };
        let chunks = [vec![b"first\n".to_vec()], chunks].concat();
        let whole = [b"first\n", &script[..]].concat();
        let lines = conversation(Box::new(Ping::new(Framing::Line)), &[whole], PLAIN);
        prop_assert!(conversation(Box::new(Ping::new(Framing::Auto)), &chunks, way) == lines);
    }

    #[test]
    fn short_first_chunk_without_a_line_end_means_chunks((_, chunks) in cut_script(), room in 1usize..1000) {
        let way = Way { room, ..PLAIN };
        let chunks = [vec![b"first".to_vec()], chunks].concat();
        let raw = conversation(Box::new(Ping::new(Framing::Raw)), &chunks, PLAIN);
        prop_assert!(conversation(Box::new(Ping::new(Framing::Auto)), &chunks, way) == raw);
    }

    #[test]
    fn each_chunk_of_a_raw_stream_gets_one_answer(chunks in vec(vec(any::<u8>(), 1..3000), 0..10)) {
        // (None of them is `exit`.)
        let chunks: Vec<Vec<u8>> = chunks.into_iter().map(|chunk| [b"x", &chunk[..]].concat()).collect();
        let pongs = conversation(Box::new(Ping::new(Framing::Raw)), &chunks, PLAIN);
        prop_assert!(pongs == b"pong".repeat(chunks.len()));
        let hellos = conversation(Box::new(Hello::new(Framing::Raw, DELAY)), &chunks[..chunks.len().min(1)], PLAIN);
        let answers = chunks.iter().take(1).flat_map(|chunk| [b"Hello, ", &chunk[..], b"!"].concat());
        prop_assert!(hellos == b"Welcome!".iter().copied().chain(answers).collect::<Vec<u8>>());
    }

    #[test]
    fn garbage_ends_nothing_but_its_own_connection(
        chunks in vec(
            prop_oneof![vec(any::<u8>(), 1..40), vec(b'\r'..=b'\r', 1..3), vec(any::<u8>(), 1000..6000)],
            0..10,
        ),
        way in ways(),
    ) {
        for kind in KINDS {
            for framing in FRAMINGS {
                conversation(kind.service(framing), &chunks, way);
            }
        }
    }

    #[test]
    fn garbage_that_breaks_off_leaves_nothing_behind(chunks in vec(vec(any::<u8>(), 1..3000), 1..5), way in ways()) {
        for kind in KINDS {
            for framing in FRAMINGS {
                let mut server = Server::new(kind.service(framing));
                let client = if way.is_unix { server.open_unix(way.room) } else { server.open_with_room(way.room) };
                chunks.iter().for_each(|chunk| server.says(client, chunk));
                server.turn();
                server.resets(client);
                server.pass(Duration::from_secs(1000));
                prop_assert!(server.is_closed(client));
                prop_assert_eq!(server.engine.usage(), Usage::default());
            }
        }
    }

    #[test]
    fn garbage_in_a_datagram_gets_one_answer_or_none(bytes in vec(any::<u8>(), 0..2000), port in any::<u16>()) {
        for kind in KINDS {
            let mut server = Server::new(kind.service(Framing::Auto));
            let number = server.bind("10.0.0.1:8888");
            for host in ["127.0.0.1", "192.0.2.1", "[2001:db8::1]"] {
                server.datagram(number, &format!("{host}:{port}"), &bytes);
            }
            let stats = server.stats();
            let accounted = stats.datagrams_out + stats.loops + stats.over_budget + stats.dropped;
            prop_assert_eq!((stats.datagrams_in, accounted), (3, 3), "{:?}: {}", kind, stats);
        }
    }

    #[test]
    fn no_answer_is_answered_whatever_the_question(bytes in vec(any::<u8>(), 0..100), ping in any::<bool>()) {
        let bytes = if ping { [b"ping ", &bytes[..]].concat() } else { bytes };
        for first in [Kind::Ping, Kind::Hello] {
            let mut server = Server::new(first.service(Framing::Auto));
            let number = server.bind("127.0.0.1:8888");
            let Some(answer) = server.datagram(number, "127.0.0.1:4000", &bytes) else { continue };
            for second in [Kind::Ping, Kind::Hello] {
                let mut server = Server::new(second.service(Framing::Auto));
                let number = server.bind("127.0.0.1:8888");
                prop_assert_eq!(server.datagram(number, "127.0.0.1:4000", &answer), None);
            }
        }
    }
}

#[test]
fn answer_ends_as_its_question_did() {
    let script = b"ping 1\r\nx\n\r\nping".to_vec();
    for (kind, answers) in [
        (Kind::Ping, "pong 1\r\npong\npong\r\npong"),
        (Kind::Hello, "Welcome!\nHello, ping 1!\r\nHello, x!\nHello, !\r\nHello, ping!"),
    ] {
        let heard = conversation(kind.service(Framing::Line), std::slice::from_ref(&script), PLAIN);
        assert_eq!(String::from_utf8_lossy(&heard), answers);
    }
}
