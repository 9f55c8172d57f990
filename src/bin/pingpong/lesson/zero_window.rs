//! A reader that does not read stops the sender: the window, and what each end holds.

use std::time::Duration;

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::InetSocket;
use crate::watch::KernelState::Established;

pub(super) const LESSON: Lesson = Lesson {
    name: "zero-window",
    title: "a reader that does not read: full buffers, EAGAIN, flow control",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "With each ACK a receiver says how much room it has left: its window. Where the program there does not read, \
         the window shrinks to zero, and the sender has to wait. Nothing is lost, and nobody runs out of memory.",
    );

    stage.step("A connection.");
    let listener = stage.listen(SERVER, 128)?;
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.shows([client.is(Established), server.is(Established)])?;

    stage.step("The client sends, the server does not read.");
    stage.say("Until its kernel takes no more: EAGAIN, \"try again later\". (A blocking send() would wait here.)");
    let total = stage.fill(&client)?;
    stage.goes(CLIENT, SERVER, "what the window lets through");
    stage.goes(SERVER, CLIENT, "ACK, window 0");
    stage.say(
        "All of it is in two places: what the server's kernel had room for (Recv-Q), and what the client's keeps \
         until it is acknowledged (Send-Q).",
    );
    let queues = |[at_client, at_server]: &[Option<InetSocket>; 2]| {
        (at_server.as_ref().map_or(0, |end| end.received), at_client.as_ref().map_or(0, |end| end.sent))
    };
    let found = stage.shows_once(
        &format!("a window of 0, and {total} bytes in both queues together"),
        [client.is(Established), server.is(Established)],
        |found| {
            let (received, sent) = queues(found);
            let figures = found[0].as_ref().and_then(|end| end.figures);
            // (A kernel before 5.4 does not tell the window.)
            let is_shut = figures.and_then(|figures| figures.peer_room).is_none_or(|room| room == 0);
            is_shut && received > 0 && sent > 0 && u64::from(received) + u64::from(sent) == total
        },
    )?;
    let (received, sent) = queues(&found);
    stage.show("", &format!("{received} + {sent} = {total}: all of it; the window is 0"));

    stage.step("While it is so, nothing happens.");
    stage.say(
        "The poll has no event for the client: its socket is not writable. Its kernel asks now and then whether the \
         window has opened (a probe), for as long as it takes. To the client a reader that is slow and one that is \
         stuck look the same: a program needs a time limit of its own.",
    );
    stage.poll_once(CLIENT, &[&client], Duration::ZERO)?;
    let events = stage.poll_once(CLIENT, &[&client], Duration::from_millis(100))?;
    stage.holds(events.is_empty(), "no event", format_args!("{events:?}"))?;

    stage.step("The server reads.");
    stage.say("The window opens, what the client's kernel has kept flows, and the client may send again: EPOLLOUT.");
    stage.forget_writable(&client);
    stage.drain(&server, u64::from(received))?;
    stage.goes(SERVER, CLIENT, "ACK, window open");
    stage.goes(CLIENT, SERVER, "the rest");
    stage.drain(&server, u64::from(sent))?;
    let events = stage.poll_once(CLIENT, &[&client], Duration::from_secs(1))?;
    stage.holds(!events.is_empty() || stage.is_writable(&client), "writable", "no event")?;
    stage.shows([client.is(Established).sent(0), server.is(Established).received(0)])?;
    Ok(())
}
