//! RST: the connection is over at once, for both.

use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::time::Duration;

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::{CloseWait, Established, FinWait2, TimeWait};

pub(super) const LESSON: Lesson = Lesson {
    name: "reset",
    title: "\"connection reset by peer\": closing with unread bytes, SO_LINGER 0",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "A FIN says \"I have sent all\". A RST says \"this connection does not exist\": whoever gets one forgets it at \
         once, and the next call there fails with ECONNRESET, \"connection reset by peer\".",
    );
    let listener = stage.listen(SERVER, 128)?;

    stage.step("The server closes without having read.");
    stage.say(
        "The client has sent five bytes, which lie in the server's kernel (Recv-Q). A close would now tell the client \
         that all went well, while its bytes are thrown away. So the kernel sends RST instead of FIN.",
    );
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.send(&client, b"hello")?;
    stage.goes(CLIENT, SERVER, "5 bytes");
    stage.shows([client.is(Established), server.is(Established).received(5)])?;
    let server = stage.close(server);
    stage.goes(SERVER, CLIENT, "RST");
    stage.say("Nothing is left of it at either end, TIME-WAIT neither.");
    stage.shows([client.place().is_gone(), server.is_gone()])?;

    stage.step("The client learns of it with its next calls.");
    stage.say(
        "The first one gets ECONNRESET. The error is told once; to send after that is EPIPE. (Without MSG_NOSIGNAL \
         that also raises SIGPIPE, which kills a program that does not expect it.)",
    );
    let reset = stage.try_receive(&client, 1024);
    let is_reset = reset.as_ref().is_err_and(|error| error.kind() == ConnectionReset);
    stage.holds(is_reset, "ECONNRESET", format_args!("{reset:?}"))?;
    let broken = stage.try_send(&client, b"hello?");
    let is_broken = broken.as_ref().is_err_and(|error| error.kind() == BrokenPipe);
    stage.holds(is_broken, "EPIPE", format_args!("{broken:?}"))?;
    stage.close(client);

    stage.step("With all read, the same close is a FIN.");
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.send(&client, b"hello")?;
    stage.goes(CLIENT, SERVER, "5 bytes");
    stage.receive(&server, 1024)?;
    let server = stage.close(server);
    stage.goes(SERVER, CLIENT, "FIN");
    stage.shows([client.is(CloseWait), server.is(FinWait2)])?;
    stage.say("The client may still send, and closes in its own time.");
    let client = stage.close(client);
    stage.goes(CLIENT, SERVER, "FIN");
    stage.shows([client.is_gone(), server.is(TimeWait)])?;

    stage.step("SO_LINGER with 0 seconds: RST on purpose.");
    stage.say(
        "It makes close() an abort: unsent bytes are thrown away, and there is no TIME-WAIT. Servers use it to get \
         rid of a hostile peer. As a cure against TIME-WAIT it loses answers that are still on their way.",
    );
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.set(SERVER, &server.socket, "SO_LINGER, {on, 0}", |socket| socket.set_linger(Some(Duration::ZERO)))?;
    let server = stage.close(server);
    stage.goes(SERVER, CLIENT, "RST");
    stage.shows([client.place().is_gone(), server.is_gone()])?;
    let reset = stage.try_receive(&client, 1024);
    let is_reset = reset.as_ref().is_err_and(|error| error.kind() == ConnectionReset);
    stage.holds(is_reset, "ECONNRESET", format_args!("{reset:?}"))
}
