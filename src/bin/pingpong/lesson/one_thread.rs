//! Three clients, one thread: accept, read and write in one loop, and nobody waits for anybody.

use std::time::Duration;

use super::ends::End;
use super::stage::Stage;
use super::trouble::Trouble;
use super::{Lesson, SERVER};
use crate::watch::KernelState::{CloseWait, Established, Listen, TimeWait};

const CLIENTS: [&str; 3] = ["client 1", "client 2", "client 3"];

pub(super) const LESSON: Lesson = Lesson {
    name: "one-thread",
    title: "three clients in one loop, beside a thread for each",
    actors: &[CLIENTS[0], CLIENTS[1], CLIENTS[2], SERVER],
    play,
};

fn play(stage: &mut Stage) -> Result<(), Trouble> {
    stage.begin(
        "The simplest server handles one client after the other: accept, read, write, and while it reads from one, \
         all others wait. A thread for each client cures that, at the price of a stack and a switch for each. The \
         third way is one thread that never waits for anyone in particular: it asks epoll who is ready.",
    );
    stage.show("", "thread for each client        one loop");
    stage.show("", "loop {                        loop {");
    stage.show("", "  c = accept()      waits       for s in epoll_wait()   waits for all");
    stage.show("", "  thread {                        if s is the listener: accept()");
    stage.show("", "    q = recv(c)     waits         else: q = recv(s), send(s, answer)");
    stage.show("", "    send(c, answer) waits     }");
    stage.show("", "} }");

    stage.step("Three clients come. Client 1 says nothing.");
    stage.say("A server that handles one after the other would now wait for client 1, and the others with it.");
    let listener = stage.listen(SERVER, 128)?;
    let mut clients = Vec::new();
    for name in CLIENTS {
        clients.push(stage.begin_to_connect(name, listener.local())?);
        stage.goes(name, SERVER, "SYN ... ACK");
    }
    stage.shows([listener.is(Listen).received(3)])?;

    stage.step("The loop turns: the listener is ready.");
    stage.say(
        "IN: somebody waits there to be accepted. (OUT: the clients, which are in this epoll too, may send.) It \
         accepts until nobody is left (EAGAIN). Each connection has a descriptor of its own, and goes into the same epoll.",
    );
    let events = stage.poll_once(SERVER, &[&listener], Duration::from_secs(1))?;
    stage.holds(!events.is_empty(), "an event of the listener", "none")?;
    for client in &clients {
        stage.outcome_of_connect(client)?.map_err(|source| Trouble::Call { call: "connect", source })?;
    }
    let mut servers = Vec::new();
    for name in CLIENTS {
        servers.push((stage.accept(&listener)?, name));
    }
    stage.accept_nobody(&listener)?;
    stage.poll_once(SERVER, &servers.iter().map(|(end, _)| end).collect::<Vec<_>>(), Duration::from_millis(100))?;
    stage.shows([listener.is(Listen).received(0)])?;

    stage.step("Clients 3 and 2 ask, in this order.");
    stage.send(&clients[2], b"ping 3")?;
    stage.goes(CLIENTS[2], SERVER, "ping 3");
    stage.send(&clients[1], b"ping 2")?;
    stage.goes(CLIENTS[1], SERVER, "ping 2");
    let [first, second, third] = [0, 1, 2].map(|number| servers[number].0.is(Established));
    stage.shows([first.received(0), second.received(6), third.received(6)])?;

    stage.step("The loop turns: two are ready.");
    stage.say("One epoll_wait names both. Each is read and answered in turn; client 1 keeps nobody waiting.");
    let answered = answer_those_that_are_ready(stage, &mut servers)?;
    stage.holds(answered == 2, "two answers", answered)?;
    for client in &clients[1..] {
        let answer = stage.receive(client, 1024)?;
        stage.holds(answer.starts_with(b"pong"), "pong", answer.escape_ascii())?;
    }

    stage.step("Client 1 asks after all, and client 2 leaves.");
    stage.send(&clients[0], b"ping 1")?;
    stage.goes(CLIENTS[0], SERVER, "ping 1");
    stage.shut_down(&clients[1])?;
    stage.goes(CLIENTS[1], SERVER, "FIN");
    stage.shows([servers[0].0.is(Established).received(6), servers[1].0.is(CloseWait)])?;

    stage.step("The loop turns once more.");
    stage.say(
        "Client 1 is answered. Client 2's end reads as 0 bytes: its connection is closed here, too, or its descriptor \
         would be lost (see the lesson close-wait).",
    );
    let answered = answer_those_that_are_ready(stage, &mut servers)?;
    stage.holds(answered == 1, "one answer", answered)?;
    let answer = stage.receive(&clients[0], 1024)?;
    stage.holds(answer == b"pong 1", "pong 1", answer.escape_ascii())?;
    stage.shows([servers[0].0.is(Established).received(0), clients[1].is(TimeWait)])?;

    stage.step("And the threads?");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap_or("?").trim();
    stage.show("kernel", &format!("Threads: {threads} (/proc/{}/status)", std::process::id()));
    stage.holds(threads == "1", "one thread", threads)?;
    stage.say(
        "Servers, clients and all: one. 'pingpong serve' is this loop, and holds ten thousand connections in a \
         megabyte. What it must never do is wait inside the loop: then everybody waits.",
    );
    Ok(())
}

/// One turn of the loop, in epoll's order. Returns how many got an answer; who has left is closed.
fn answer_those_that_are_ready(stage: &mut Stage, servers: &mut Vec<(End, &'static str)>) -> Result<usize, Trouble> {
    let ends: Vec<&End> = servers.iter().map(|(end, _)| end).collect();
    let mut answered = 0;
    for ready in stage.poll_once(SERVER, &ends, Duration::from_secs(1))? {
        let Some(place) = servers.iter().position(|(end, _)| end.fd() == ready) else { continue };
        let (server, client) = &servers[place];
        let question = stage.receive(server, 1024)?;
        if question.is_empty() {
            let (server, client) = servers.remove(place);
            stage.close(server);
            stage.goes(SERVER, client, "FIN");
        } else {
            let answer = String::from_utf8_lossy(&question).replacen('i', "o", 1);
            stage.send(server, answer.as_bytes())?;
            stage.goes(SERVER, client, &answer);
            answered += 1;
        }
    }
    Ok(answered)
}
