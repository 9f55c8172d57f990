//! Nobody there: how TCP says so at once, and UDP one call late.

use std::io::ErrorKind::ConnectionRefused;

use super::stage::Stage;
use super::trouble::Trouble;
use super::{CLIENT, Lesson, SERVER};
use crate::watch::KernelState::Established;

pub(super) const LESSON: Lesson = Lesson {
    name: "refused",
    title: "nobody listens: TCP says so at once, UDP on the next call",
    actors: &[CLIENT, SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "\"Connection refused\" is an answer: the machine is there, and nobody listens at that port (or a firewall says \
         so for it). No answer at all is another thing: a firewall that drops, or no machine; then a connect ends with \
         a timeout.",
    );

    stage.step("A port at which nobody listens.");
    stage.say(
        "This socket has an address and does not listen, so that nobody else can take the port meanwhile. 'ss -tan' \
         does not list such a socket.",
    );
    let deaf = stage.socket(SERVER)?;
    let anywhere = (stage.loopback(), 0).into();
    stage.bind(SERVER, &deaf, anywhere)?.map_err(|source| Trouble::Call { call: "bind", source })?;
    let address = deaf.local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(anywhere);

    stage.step("TCP: the SYN is answered with RST.");
    stage.say(
        "connect() itself has only begun (EINPROGRESS). Then the poll says that there is news, and SO_ERROR says \
         which. A blocking connect() would return ECONNREFUSED itself. Nothing is left of the attempt.",
    );
    let client = stage.begin_to_connect(CLIENT, address)?;
    stage.goes(CLIENT, SERVER, "SYN");
    stage.goes(SERVER, CLIENT, "RST");
    let outcome = stage.outcome_of_connect(&client)?;
    let is_refused = outcome.as_ref().is_err_and(|error| error.kind() == ConnectionRefused);
    stage.holds(is_refused, "ECONNREFUSED", format_args!("{outcome:?}"))?;
    stage.shows([client.place().is_gone()])?;
    stage.close(client);

    stage.step("UDP: the send goes well.");
    stage.say(
        "A datagram is sent to a port that was closed a moment ago. send() succeeds: it gives the datagram to the \
         network and promises nothing. ESTAB only means that this socket has been told whom to talk to.",
    );
    let other = stage.datagram_socket(SERVER)?;
    let address = other.local();
    stage.close(other);
    let client = stage.connect_datagrams(CLIENT, address)?;
    stage.shows([client.is(Established)])?;
    stage.send(&client, b"anybody?")?;
    stage.goes(CLIENT, SERVER, "datagram of 8 bytes");
    stage.goes(SERVER, CLIENT, "ICMP: port unreachable");

    stage.step("The next call gets the error.");
    stage.say(
        "The other machine's kernel has answered with an ICMP message, and ours keeps that for the next call on this \
         socket, whatever call that is. It gets ECONNREFUSED once; the one after it finds nothing (EAGAIN). A UDP socket that \
         is not connected hears of it only if it has asked for that (IP_RECVERR, IPV6_RECVERR).",
    );
    let refused = stage.try_receive(&client, 1024);
    let is_refused = refused.as_ref().is_err_and(|error| error.kind() == ConnectionRefused);
    stage.holds(is_refused, "ECONNREFUSED", format_args!("{refused:?}"))?;
    let nothing = stage.try_receive(&client, 1024);
    let is_nothing = nothing.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    stage.holds(is_nothing, "EAGAIN", format_args!("{nothing:?}"))?;
    Ok(())
}
