//! A connection is two one-way streets: one may be closed while the other is still in use.

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::{CloseWait, Established, FinWait2, TimeWait};

pub(super) const LESSON: Lesson = Lesson {
    name: "half-close",
    title: "\"I have said all\", and still listening: shutdown and FIN",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "A connection is two one-way streets. Each end says for itself when it has sent all: with a FIN. Until both \
         have said so, the connection is half closed, and that is a fine state to be in.",
    );

    stage.step("A connection.");
    let listener = stage.listen(SERVER, 128)?;
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.shows([client.is(Established), server.is(Established)])?;

    stage.step("The client asks, and says that this was all.");
    stage.say(
        "shutdown(SHUT_WR) sends a FIN behind the bytes. It closes nothing else: the client still listens, in \
         FIN-WAIT-2 (the FIN has been acknowledged). CLOSE-WAIT at the server means: the other end has finished, and \
         the program here has not. Recv-Q is 9: eight bytes, and the FIN counts as one.",
    );
    stage.send(&client, b"question")?;
    stage.goes(CLIENT, SERVER, "8 bytes");
    stage.shut_down(&client)?;
    stage.goes(CLIENT, SERVER, "FIN");
    stage.shows([client.is(FinWait2), server.is(CloseWait).received(9)])?;

    stage.step("The server reads to the end.");
    stage.say("A read that returns 0 is the end of the stream: the FIN, as a program sees it. It is no error.");
    stage.receive(&server, 1024)?;
    let end = stage.receive(&server, 1024)?;
    stage.holds(end.is_empty(), "the end of the stream", format_args!("{} bytes", end.len()))?;

    stage.step("The server answers all the same, and closes.");
    stage.say(
        "This street is still open. Tools like 'nc -N' and 'curl' rely on it: they finish sending and wait for the \
         answer. Then the server's FIN goes the other way, and both have said all.",
    );
    stage.send(&server, b"answer")?;
    stage.goes(SERVER, CLIENT, "6 bytes");
    let server = stage.close(server);
    stage.goes(SERVER, CLIENT, "FIN");
    stage.say(
        "The server's end is gone. The client's is in TIME-WAIT, although the client has closed nothing yet: it was \
         the first to finish, and its kernel remembers the connection for a minute (see the lesson time-wait).",
    );
    stage.shows([client.is(TimeWait), server.is_gone()])?;
    stage.receive(&client, 1024)?;
    let end = stage.receive(&client, 1024)?;
    stage.holds(end.is_empty(), "the end of the stream", format_args!("{} bytes", end.len()))?;
    stage.close(client);
    Ok(())
}
