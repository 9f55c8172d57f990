//! A tutorial's client and server and our two, four ways: theirs with theirs, their client with our server, our client
//! with their server, ours with ours. What passes on the wire and what each side prints is compared.

use std::net::SocketAddr;

use super::support::tool;
use super::talk::{Talk, Talker};

/// Which client talks to which server: the client first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    TheirsTheirs,
    TheirsOurs,
    OursTheirs,
    OursOurs,
}

pub(crate) use Way::{OursOurs, OursTheirs, TheirsOurs, TheirsTheirs};

impl Way {
    const ALL: [Self; 4] = [TheirsTheirs, TheirsOurs, OursTheirs, OursOurs];

    pub(crate) fn our_client(self) -> bool {
        matches!(self, OursTheirs | OursOurs)
    }

    pub(crate) fn our_server(self) -> bool {
        matches!(self, TheirsOurs | OursOurs)
    }
}

/// Where a difference shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Wire,
    Client,
    Server,
}

pub(crate) use Place::{Client, Server, Wire};

/// A conversation: what passed on the wire, and what each side printed. Addresses are replaced by PEER.
pub(crate) struct Talked {
    pub(crate) wire: Vec<String>,
    pub(crate) client: Vec<String>,
    pub(crate) server: Vec<String>,
}

impl Talked {
    fn at(&self, place: Place) -> &[String] {
        match place {
            Wire => &self.wire,
            Client => &self.client,
            Server => &self.server,
        }
    }
}

/// A difference between our programs and the tutorial's, and its reason.
pub(crate) struct Difference {
    pub(crate) ways: &'static [Way],
    pub(crate) place: Place,
    pub(crate) here: &'static [&'static str],
    pub(crate) because: &'static str,
}

/// Runs a conversation in all four ways, and compares each with that of the tutorial's own programs.
#[track_caller]
pub(crate) fn compare(talk: impl Fn(Way) -> Option<Talked>, known: [(Place, &[&str]); 3], differences: &[Difference]) {
    for way in Way::ALL {
        let Some(talked) = talk(way) else { return };
        for (place, theirs) in known {
            let listed = differences.iter().find(|listed| listed.place == place && listed.ways.contains(&way));
            let expected = listed.map_or(theirs, |listed| listed.here);
            let because = listed.map_or("they are alike", |listed| listed.because);
            assert_eq!(talked.at(place), expected, "{way:?}, {place:?}: {because}");
            assert!(listed.is_none() || (expected != theirs && way != TheirsTheirs), "{because}: no difference");
        }
    }
}

pub(crate) const ALL_OURS: &[Way] = &[TheirsOurs, OursOurs];

/// The tutorial's server, or ours with these words; and its address.
#[track_caller]
pub(crate) fn server(way: Way, scheme: &str, theirs: (&str, &[&str]), ours: &str) -> Option<(Talker, SocketAddr)> {
    if way.our_server() {
        let mut server = Talk::serve(ours).start();
        let places = server.ready();
        let (_, address) = places.endpoint(scheme).split_once("://").unwrap();
        return Some((server, address.parse().unwrap()));
    }
    let mut server = Talk::tutorial(theirs.0, &[&["127.0.0.1", "0"], theirs.1].concat())?.start();
    let address = server.port(scheme);
    Some((server, address))
}

/// Runs a client that needs no typing; what it prints.
#[track_caller]
pub(crate) fn client(way: Way, to: SocketAddr, theirs: &str, ours: (&str, &[&str])) -> Option<Vec<String>> {
    let talk = if way.our_client() {
        Talk::client(&format!("{}://{to}", ours.0), ours.1)
    } else {
        Talk::tutorial(theirs, &[&to.ip().to_string(), &to.port().to_string()])?
    };
    Some(lines(&talk.start().ends_well()))
}

/// netcat, or our client, with a pipe as its keyboard: each line is typed once the answer to the one before is seen; an
/// empty line is not typed.
#[track_caller]
pub(crate) fn typist(way: Way, scheme: &str, to: SocketAddr, said: &[(&str, &str)], framing: &str) -> Option<Talker> {
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let typist = if way.our_client() {
        Talk::client(&format!("{scheme}://{to}"), &["--framing", framing])
    } else if tool("nc") {
        Talk::program("nc", &[if scheme == "udp" { "-u" } else { "-N" }, &host, &port])
    } else {
        return None;
    };
    let mut typist = typist.start();
    for (text, answer) in said {
        if !text.is_empty() {
            typist.types(format!("{text}\n"));
        }
        typist.sees(answer);
    }
    Some(typist)
}

/// What a server has printed, once it is told to end or has ended: theirs to standard output, ours as a log (without
/// the counters at its end).
#[track_caller]
pub(crate) fn printed(way: Way, mut server: Talker) -> Vec<String> {
    if !way.our_server() {
        let mut printed = lines(&server.written());
        printed.retain(|line| !line.contains(" port "));
        return printed;
    }
    told(&server.stops().join("\n"))
}

/// The lines of our log that are about connections and messages.
pub(crate) fn told(log: &str) -> Vec<String> {
    let told = |line: &String| line.starts_with("DEBUG") || line.starts_with("TRACE");
    lines(log).into_iter().filter(told).map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
}

/// Lines, with addresses such as `127.0.0.1:40112` replaced by PEER.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let mut pieces = text.split("127.0.0.1:");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str("PEER");
        plain.push_str(piece.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    plain.lines().map(str::to_owned).collect()
}
