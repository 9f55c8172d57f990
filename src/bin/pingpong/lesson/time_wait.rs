//! Whoever closes first waits: TIME-WAIT, and what it does to a server that starts again.

use std::io::ErrorKind;

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::{CloseWait, Established, FinWait2, Listen, TimeWait};

pub(super) const LESSON: Lesson = Lesson {
    name: "time-wait",
    title: "who closes first has to wait, and \"address already in use\"",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "The end that closes first stays behind, in TIME-WAIT, for a minute on Linux. Segments that are still on \
         their way must not end up in a later connection of the same addresses, and if the last ACK gets lost, \
         somebody has to be there to repeat it.",
    );

    stage.step("A server that may start again (SO_REUSEADDR), and a client.");
    let socket = stage.socket(SERVER)?;
    stage.set(SERVER, &socket, "SO_REUSEADDR, [1]", |socket| socket.set_reuse_address(true))?;
    let anywhere = (stage.loopback(), 0).into();
    stage.bind(SERVER, &socket, anywhere)?.map_err(|source| Trouble::Call { call: "bind", source })?;
    let listener = stage.start_listening(SERVER, socket, 128)?;
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.shows([client.is(Established), server.is(Established)])?;

    stage.step("The server closes first.");
    stage.say(
        "Its FIN is acknowledged, the client's is awaited: FIN-WAIT-2. No program has this socket any more; the \
         kernel sees to the rest by itself.",
    );
    let address = listener.local();
    let server = stage.close(server);
    stage.goes(SERVER, CLIENT, "FIN");
    stage.shows([client.is(CloseWait), server.is(FinWait2)])?;

    stage.step("The client closes, too.");
    stage.say(
        "Its FIN is answered at once, and nothing of it is left. The server's end is in TIME-WAIT: the price of \
         having closed first. A server with thousands of visits a second lets its clients close first.",
    );
    let client = stage.close(client);
    stage.goes(CLIENT, SERVER, "FIN");
    stage.goes(SERVER, CLIENT, "ACK");
    stage.shows([client.is_gone(), server.is(TimeWait)])?;

    stage.step("The server ends and starts again.");
    stage.say(
        "The listener is closed. A new one at the same port is refused while the old connection is remembered: \
         EADDRINUSE, \"address already in use\", which so many have met.",
    );
    stage.close(listener);
    let socket = stage.socket(SERVER)?;
    let bound = stage.bind(SERVER, &socket, address)?;
    let refused = bound.as_ref().err().map(std::io::Error::kind);
    stage.holds(refused == Some(ErrorKind::AddrInUse), "EADDRINUSE", format_args!("{bound:?}"))?;
    stage.shows([server.is(TimeWait)])?;

    stage.step("With SO_REUSEADDR it may.");
    stage.say(
        "The option says: a memory in TIME-WAIT is no reason to refuse. (Both the old socket and the new one need \
         it. Two listeners at a time still exclude each other.) The memory stays beside the new listener.",
    );
    stage.set(SERVER, &socket, "SO_REUSEADDR, [1]", |socket| socket.set_reuse_address(true))?;
    stage.bind(SERVER, &socket, address)?.map_err(|source| Trouble::Call { call: "bind", source })?;
    let listener = stage.start_listening(SERVER, socket, 128)?;
    stage.shows([listener.is(Listen), server.is(TimeWait)])?;
    Ok(())
}
