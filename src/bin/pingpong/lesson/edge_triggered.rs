//! An edge is told once: the event that does not come again.

use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::Established;

pub(super) const LESSON: Lesson = Lesson {
    name: "edge-triggered",
    title: "epoll tells it once: why a loop reads until EAGAIN",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "epoll can be asked in two ways. Level-triggered: \"is there something to read?\" Edge-triggered (EPOLLET, as \
         mio, nginx and this program use it): \"has something come since I was last told?\" That saves calls, and has \
         one trap.",
    );

    stage.step("A connection, registered edge-triggered.");
    stage.say("EPOLLET asks for edges, of what comes (IN, and RDHUP for its end) and of room to send (OUT).");
    let listener = stage.listen(SERVER, 128)?;
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.show_interest(&server);
    stage.poll_once(SERVER, &[&server], Duration::from_millis(100))?;
    stage.shows([client.is(Established), server.is(Established)])?;

    stage.step("Ten bytes come: an event.");
    stage.send(&client, b"0123456789")?;
    stage.goes(CLIENT, SERVER, "10 bytes");
    let events = stage.poll_once(SERVER, &[&server], Duration::from_secs(1))?;
    stage.holds(!events.is_empty(), "an event", "none")?;

    stage.step("The server reads five of them, and polls again.");
    stage.say("Five bytes are still there (Recv-Q), but nothing new has come: no event, however long it waits.");
    stage.receive(&server, 5)?;
    stage.shows([server.is(Established).received(5)])?;
    let events = stage.poll_once(SERVER, &[&server], Duration::from_millis(200))?;
    stage.holds(events.is_empty(), "no event", format_args!("{events:?}"))?;
    stage.say(
        "That is the trap: the client waits for an answer, the server for an event. poll(2), which is \
         level-triggered, says otherwise about the same socket:",
    );
    let mut asked = [PollFd::new(server.socket.as_fd(), PollFlags::POLLIN)];
    let found = poll(&mut asked, PollTimeout::ZERO);
    let is_readable = asked[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN));
    stage.holds(found == Ok(1) && is_readable, "POLLIN", format_args!("{found:?}"))?;
    stage.called(SERVER, &format!("poll({}, POLLIN, 0) = 1 [POLLIN]", server.fd()));

    stage.step("Four more bytes come: an event again.");
    stage.say(
        "An event is used up when epoll_wait tells it, whatever is read after that. New bytes make another one, \
         although the old ones are still there. So a loop that leaves bytes behind works as long as more come, and \
         stops where the other end waits for an answer.",
    );
    stage.send(&client, b"more")?;
    stage.goes(CLIENT, SERVER, "4 bytes");
    let events = stage.poll_once(SERVER, &[&server], Duration::from_secs(1))?;
    stage.holds(!events.is_empty(), "an event", "none")?;
    stage.shows([server.is(Established).received(9)])?;

    stage.step("The rule: read until EAGAIN.");
    stage.say(
        "Nobody reminds a program of what it has left behind. EAGAIN says that nothing is left, and that what comes \
         next will be an event. (For TCP, a read that returns less than it had room for says the same and saves a \
         call, unless the event has told of an end, an error or urgent data.)",
    );
    let rest = stage.receive(&server, 1024)?;
    stage.holds(rest == b"56789more", "56789more", rest.escape_ascii())?;
    let nothing = stage.try_receive(&server, 1024);
    let is_nothing = nothing.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    stage.holds(is_nothing, "EAGAIN", format_args!("{nothing:?}"))?;
    stage.shows([server.is(Established).received(0)])?;
    Ok(())
}
