//! CLOSE-WAIT that stays is a program that forgets to close.

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::{CloseWait, Established, FinWait2, TimeWait};

pub(super) const LESSON: Lesson = Lesson {
    name: "close-wait",
    title: "a server that forgets to close, and how ss shows it",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "In CLOSE-WAIT the other end has finished, and the kernel waits for the program here to close, without a limit \
         of time. Where ss shows more and more of them, a program forgets to close, and will run out of descriptors.",
    );

    stage.step("A client comes.");
    let listener = stage.listen(SERVER, 128)?;
    let client = stage.connect(CLIENT, listener.local())?;
    let server = stage.accept(&listener)?;
    stage.shows([client.is(Established), server.is(Established)])?;

    stage.step("The client leaves.");
    let client = stage.close(client);
    stage.goes(CLIENT, SERVER, "FIN");
    stage.say(
        "The client is done: its program has closed. The server's kernel has the FIN and tells the program, which \
         reads 0 bytes: the end.",
    );
    let end = stage.receive(&server, 1024)?;
    stage.holds(end.is_empty(), "the end of the stream", format_args!("{} bytes", end.len()))?;

    stage.step("The server forgets to close.");
    stage.say(
        "This is the bug: `if n == 0 { return; }`, and the descriptor stays open. The server's end is in CLOSE-WAIT, \
         the client's in FIN-WAIT-2. No program holds that any more, and so its kernel gives it up after a minute \
         (net.ipv4.tcp_fin_timeout). CLOSE-WAIT stays until the program closes, or ends.",
    );
    stage.shows([server.is(CloseWait), client.is(FinWait2)])?;

    stage.step("It happens with each visit.");
    stage.say("Two more visits, and the server has three descriptors that nobody will ever use again.");
    let mut left = vec![server];
    for _ in 0..2 {
        let client = stage.connect(CLIENT, listener.local())?;
        left.push(stage.accept(&listener)?);
        stage.close(client);
        stage.goes(CLIENT, SERVER, "FIN");
    }
    let [first, second, third] = [0, 1, 2].map(|number| left[number].is(CloseWait));
    stage.shows([first, second, third])?;

    stage.step("It closes.");
    stage.say(
        "close() sends the FIN that was missing. It is acknowledged at once, so that LAST-ACK, the state between, is \
         over before anybody sees it. The clients, who closed first, are left in TIME-WAIT.",
    );
    for server in left {
        let server = stage.close(server);
        stage.goes(SERVER, CLIENT, "FIN");
        stage.shows([server.is_gone(), server.other_end(CLIENT).is(TimeWait)])?;
    }
    Ok(())
}
