//! A stream has bytes, no messages; a datagram is one.

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::{Established, Unconnected};

pub(super) const LESSON: Lesson = Lesson {
    name: "message-boundaries",
    title: "two sends, one read: TCP has no messages, UDP has",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "Many first programs take what one recv() returns for what one send() sent. On one machine, with small \
         messages and time between them, that mostly works. It is luck.",
    );

    stage.step("TCP: two sends.");
    stage.say("The client sends twice, before the server reads. In its kernel lie six bytes, one behind the other.");
    let listener = stage.listen(SERVER, 128)?;
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.set(CLIENT, &client.socket, "TCP_NODELAY, [1]", |socket| socket.set_tcp_nodelay(true))?;
    stage.send(&client, b"one")?;
    stage.goes(CLIENT, SERVER, "3 bytes");
    stage.send(&client, b"two")?;
    stage.goes(CLIENT, SERVER, "3 bytes");
    stage.shows([client.is(Established), server.is(Established).received(6)])?;

    stage.step("One read gets both.");
    let read = stage.receive(&server, 1024)?;
    stage.holds(read == b"onetwo", "onetwo", read.escape_ascii())?;

    stage.step("One send of five bytes.");
    stage.send(&client, b"three")?;
    stage.goes(CLIENT, SERVER, "5 bytes");
    stage.shows([server.is(Established).received(5)])?;

    stage.step("It may take many reads.");
    stage.say(
        "A read with room for four bytes gets four. The rest is there for the next one. So a protocol over TCP says \
         itself where a message ends: a line end, or a length before it.",
    );
    let read = stage.receive(&server, 4)?;
    stage.holds(read == b"thre", "thre", read.escape_ascii())?;
    let read = stage.receive(&server, 4)?;
    stage.holds(read == b"e", "e", read.escape_ascii())?;

    stage.step("UDP: each datagram by itself.");
    stage.say(
        "There is no connection and no state, only UNCONN. Recv-Q is not the six bytes that were sent: for UDP the \
         kernel counts the memory that the two datagrams take, with its own bookkeeping.",
    );
    let receiver = stage.datagram_socket(SERVER)?;
    let sender = stage.datagram_socket(CLIENT)?;
    stage.send_to(&sender, b"one", receiver.local())?;
    stage.goes(CLIENT, SERVER, "datagram of 3 bytes");
    stage.send_to(&sender, b"two", receiver.local())?;
    stage.goes(CLIENT, SERVER, "datagram of 3 bytes");
    stage.shows([sender.is(Unconnected), receiver.is(Unconnected)])?;

    stage.step("Two datagrams are two reads.");
    stage.say("There is room for both, and still each read gets one.");
    for expected in [b"one", b"two"] {
        let read = stage.receive(&receiver, 1024)?;
        stage.holds(read == expected, &expected.escape_ascii().to_string(), read.escape_ascii())?;
    }

    stage.step("What a read has no room for is lost.");
    stage.say(
        "A read takes one datagram and is done with it: with room for four bytes the fifth is thrown away, and the \
         next read finds nothing (EAGAIN, because this socket does not block).",
    );
    stage.send_to(&sender, b"three", receiver.local())?;
    stage.goes(CLIENT, SERVER, "datagram of 5 bytes");
    let read = stage.receive(&receiver, 4)?;
    stage.holds(read == b"thre", "thre", read.escape_ascii())?;
    let rest = stage.try_receive(&receiver, 4);
    stage.holds(rest.is_err(), "nothing", format_args!("{rest:?}"))?;
    Ok(())
}
