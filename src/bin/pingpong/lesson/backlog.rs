//! Who waits where before accept(2): the queue of a listener, and a SYN that nobody answers.

use super::stage::Stage;
use super::trouble::Trouble;
use super::{Lesson, SERVER};
use crate::watch::KernelState::{Established, Listen, SynSent};

const FIRST: &str = "client 1";
const SECOND: &str = "client 2";
const THIRD: &str = "client 3";

pub(super) const LESSON: Lesson = Lesson {
    name: "backlog",
    title: "connected and not accepted: who waits where when a server is slow",
    actors: &[FIRST, SECOND, THIRD, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "A listener has a queue of connections that are complete and that accept() has not taken yet. listen() says \
         how long it may be: the backlog. What happens when it is full is a surprise to many: nobody is refused.",
    );

    stage.step("A server with a short queue, that does not accept.");
    let listener = stage.listen(SERVER, 1)?;
    stage.shows([listener.is(Listen).received(0).sent(1)])?;

    stage.step("Two clients connect.");
    stage.say(
        "Both are connected, and do not notice that nobody has accepted them: two wait (Recv-Q), though the backlog \
         is one. Linux takes one more than asked.",
    );
    let first = stage.begin_to_connect(FIRST, listener.local())?;
    stage.goes(FIRST, SERVER, "SYN ... ACK");
    stage.is_connected(&first)?;
    let second = stage.begin_to_connect(SECOND, listener.local())?;
    stage.goes(SECOND, SERVER, "SYN ... ACK");
    stage.is_connected(&second)?;
    stage.shows([listener.is(Listen).received(2), first.is(Established), second.is(Established)])?;

    stage.step("The first one even sends.");
    stage.say("The bytes wait at the server's end of the connection, which exists in the kernel alone.");
    stage.send(&first, b"hello")?;
    stage.goes(FIRST, SERVER, "5 bytes");
    let unaccepted = first.place().other_end(SERVER);
    stage.shows([first.is(Established).sent(0), unaccepted.is(Established).received(5)])?;

    stage.step("A third one finds the queue full.");
    stage.say(
        "Its SYN is not answered, neither yes nor no: SYN-SENT. Its kernel sends it again after a second, and so on, \
         with waits that double: from the beginning, or, since Linux 6.5, after a few of a second each \
         (net.ipv4.tcp_syn_linear_timeouts). Seen from there the server is slow to connect, and that is how a burst \
         of clients with a short backlog shows: connects that take a second, or several.",
    );
    let third = stage.begin_to_connect(THIRD, listener.local())?;
    stage.is_lost(THIRD, SERVER, "SYN");
    stage.shows([listener.is(Listen).received(2), third.is(SynSent)])?;

    stage.step("The server accepts one.");
    stage.say(
        "There is room again, and nobody tells the client. It gets in when its kernel sends the SYN the next time.",
    );
    let server = stage.accept(&listener)?;
    stage.receive(&server, 1024)?;
    let began = std::time::Instant::now();
    stage.await_connect(&third)?;
    let waited = began.elapsed().as_secs_f64();
    stage.goes(THIRD, SERVER, "SYN again ... ACK");
    stage.is_connected(&third)?;
    stage.say(&format!("That was {waited:.1} s after the accept. Two wait again, and all three are connected."));
    let found = stage.shows([listener.is(Listen).received(2), third.is(Established), first.is(Established)])?;
    let again = found[1].as_ref().and_then(|socket| socket.figures).map_or(0, |figures| figures.retransmits);
    stage.holds(again > 0, "a SYN that was sent again", format_args!("{again} retransmits"))
}
