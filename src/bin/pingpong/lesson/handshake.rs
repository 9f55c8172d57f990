//! How a connection comes about, and that it does so before accept(2).

use std::time::Duration;

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::{Established, Listen};

pub(super) const LESSON: Lesson = Lesson {
    name: "handshake",
    title: "how a connection comes about: listen, connect, accept",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "Two ends want to talk. One waits to be called, and is the server; the other calls, and is the client. A \
         socket is what each of them holds: a number, which stands for one end of a connection in the kernel.",
    );

    stage.step("The server listens.");
    stage.say(
        "It makes a socket, binds it to an address and a port, and listens. From now on the kernel takes calls for \
         it. A listening socket is no end of a connection: Send-Q says how many callers may wait there, Recv-Q how \
         many do.",
    );
    let listener = stage.listen(SERVER, 128)?;
    let found = stage.shows([listener.is(Listen).received(0)])?;
    let queue = found[0].as_ref().map_or(0, |listener| listener.sent);
    if queue != 128 {
        stage.say(&format!("(It has asked for 128. This machine allows {queue}: net.core.somaxconn.)"));
    }

    stage.step("The client connects.");
    stage.say(
        "connect() has the kernel send a SYN: \"I want to talk, and I count my bytes from here\". The other kernel \
         answers SYN, ACK: \"understood, and I count mine from here\"; an ACK ends the handshake. A socket that does \
         not block says EINPROGRESS and lets it happen.",
    );
    let client = stage.begin_to_connect(CLIENT, listener.local())?;
    stage.goes(CLIENT, SERVER, "SYN");
    stage.goes(SERVER, CLIENT, "SYN, ACK");
    stage.goes(CLIENT, SERVER, "ACK");
    stage.say(
        "Now look at the server's side: nobody there has done anything, and still the connection is ESTABLISHED, at \
         both ends. The kernel did it. The new end waits in the listener's queue: Recv-Q is 1.",
    );
    let unaccepted = client.place().other_end(SERVER);
    stage.shows([listener.is(Listen).received(1), client.is(Established), unaccepted.is(Established)])?;

    stage.step("Both learn of it.");
    stage.say(
        "The client's socket becomes writable (OUT), the listener readable (IN): so says epoll, which a program asks \
         about all its sockets at once. The client asks how the connect went (0 is well). The server accepts, and gets \
         a socket of its own for this one connection; the queue is empty again.",
    );
    let events = stage.poll_once(SERVER, &[&listener, &client], Duration::from_secs(1))?;
    stage.holds(events.len() == 2, "an event at either end", format_args!("{events:?}"))?;
    stage.outcome_of_connect(&client)?.map_err(|source| Trouble::Call { call: "connect", source })?;
    let server = stage.accept(&listener)?;
    stage.shows([listener.is(Listen).received(0), client.is(Established), server.is(Established)])?;

    stage.step("Bytes go over.");
    stage.say("What is sent lies in the receiver's kernel (Recv-Q) until the program there reads it.");
    stage.send(&client, b"hello")?;
    stage.goes(CLIENT, SERVER, "5 bytes");
    stage.shows([client.is(Established).sent(0), server.is(Established).received(5)])?;
    stage.receive(&server, 1024)?;
    stage.shows([server.is(Established).received(0)])?;
    Ok(())
}
