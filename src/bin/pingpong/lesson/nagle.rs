//! Nagle's algorithm and delayed ACKs: two good ideas that wait for each other.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::ends::End;
use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::Established;

pub(super) const LESSON: Lesson = Lesson {
    name: "nagle",
    title: "two small sends and 40 ms of waiting: Nagle, delayed ACKs, TCP_NODELAY",
    actors: &[CLIENT, SERVER],
    play,
};

/// The least that Linux delays an ACK (TCP_DELACK_MIN).
const DELAY: Duration = Duration::from_millis(40);

/// How often to try: where the machine is busy, 40 ms are over soon.
const ATTEMPTS: usize = 10;

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "Nagle's algorithm, at the sender: while a small segment is unacknowledged, further small ones are kept back, \
         so that they leave as one. Delayed ACKs, at the receiver: an ACK waits (on Linux 40 ms at least, 200 at most), \
         because an answer may come along that can carry it. Together: each waits for the other.",
    );

    stage.step("A connection, as two talk that know each other.");
    stage.say(
        "Linux acknowledges quickly at the beginning of a connection and delays later. The server asks for delays at \
         once (TCP_QUICKACK off), so that we need not exchange a lot first.",
    );
    let listener = stage.listen(SERVER, 128)?;
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.shows([client.is(Established), server.is(Established)])?;

    stage.step("A request in two sends: head and body.");
    stage.say(
        "The first leaves at once. The second is small, the first is not acknowledged yet: it stays with the client \
         (Send-Q has both, Recv-Q only the first). The server reads half a request, finds nothing more (EAGAIN) and \
         waits for the rest (epoll_wait), and its kernel waits for an answer to send the ACK with.",
    );
    let waited = ask_in_two(stage, &client, &server, true)?;
    stage.say(&format!(
        "After {:.0} ms the ACK came by itself and let the body go. That is the wait that makes a fast server look \
         slow: 25 requests a second at most.",
        waited.as_secs_f64() * 1e3,
    ));
    stage.holds(waited >= DELAY / 2, "a wait of about 40 ms", format_args!("{waited:?}"))?;
    stage.shows([client.is(Established).sent(0), server.is(Established).sent(0)])?;

    stage.step("The same with TCP_NODELAY.");
    stage.say(
        "The option turns Nagle's algorithm off: both leave at once (Recv-Q has all, Send-Q what is not acknowledged).",
    );
    stage.set(CLIENT, &client.socket, "TCP_NODELAY, [1]", |socket| socket.set_tcp_nodelay(true))?;
    let waited = ask_in_two(stage, &client, &server, false)?;
    stage.say(&format!(
        "The whole request was there after {:.2} ms. Better still: make it one send. Then there is nothing to keep \
         back, with or without the option.",
        waited.as_secs_f64() * 1e3,
    ));
    stage.shows([client.is(Established).sent(0), server.is(Established).sent(0)])?;
    Ok(())
}

/// Sends a request of two parts and has it answered. Returns how long the server waited for all of it.
fn ask_in_two(stage: &mut Stage, client: &End, server: &End, is_kept_back: bool) -> Result<Duration, Trouble> {
    for _ in 0..ATTEMPTS {
        stage.set(SERVER, &server.socket, "TCP_QUICKACK, [0]", |socket| socket.set_tcp_quickack(false))?;
        let began = Instant::now();
        stage.send(client, b"head")?;
        stage.goes(CLIENT, SERVER, "4 bytes");
        stage.send(client, b"body")?;
        let mut is_so = if is_kept_back {
            stage.shows_now([client.is(Established).sent(8), server.is(Established).received(4)])?
        } else {
            stage.goes(CLIENT, SERVER, "4 bytes");
            stage.shows_now([client.is(Established), server.is(Established).received(8)])?
        };
        stage.poll_once(SERVER, &[server], Duration::from_secs(1))?;
        let mut request = stage.receive(server, 1024)?;
        if is_kept_back {
            is_so &= request == b"head" && is_drained(stage, server, &mut request);
        }
        if is_so && is_kept_back {
            let news = stage.poll_quietly(&[server], Duration::from_secs(1))?;
            stage.goes(SERVER, CLIENT, &format!("ACK, {:.0} ms late", began.elapsed().as_secs_f64() * 1e3));
            stage.goes(CLIENT, SERVER, "4 bytes");
            stage.show_poll(SERVER, &news);
        }
        while request.len() < b"headbody".len() {
            request.extend(stage.receive(server, 1024)?);
        }
        let waited = began.elapsed();
        stage.holds(request == b"headbody", "headbody", request.escape_ascii())?;
        stage.send(server, b"answer")?;
        stage.goes(SERVER, CLIENT, "6 bytes");
        stage.receive(client, 1024)?;
        if is_so {
            return Ok(waited);
        }
        stage.say("(This machine was busy: 40 ms were over before we could look. Once more.)");
    }
    Err(Trouble::Otherwise {
        expected: if is_kept_back { "the second part kept back" } else { "both parts sent at once" }.to_owned(),
        found: format!("otherwise, {ATTEMPTS} times"),
    })
}

/// Whether nothing more is there. What is there nevertheless belongs to the request.
fn is_drained(stage: &mut Stage, server: &End, request: &mut Vec<u8>) -> bool {
    match stage.try_receive(server, 1024) {
        Ok(more) => {
            request.extend(more);
            false
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
