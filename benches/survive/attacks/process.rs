//! What the machine does to the server: signals, limits, pipes.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use common::Result;
use nix::sys::signal::Signal;

use super::streams::{expect_answers, questions};
use super::{PATIENCE, Scene};
use crate::tools;

const TALKERS: usize = 4000;

/// Stopped for longer than `--idle-timeout`, while every client asks: each has to be answered.
pub(super) fn stopped(scene: &Scene<'_>) -> Result<String> {
    let mut streams = Vec::new();
    for _ in 0..scene.connections(TALKERS) {
        streams.push(scene.dial()?);
    }
    scene.server.signal(Signal::SIGSTOP)?;
    for stream in &mut streams {
        stream.write_all(b"ping\n")?;
    }
    thread::sleep(Duration::from_secs(3));
    scene.server.signal(Signal::SIGCONT)?;
    let mut unanswered = 0;
    for stream in &mut streams {
        let mut answer = [0; 5];
        match stream.read_exact(&mut answer) {
            Ok(()) if &answer == b"pong\n" => {}
            Ok(()) => return Err("a wrong answer after the stop".into()),
            Err(_) => unanswered += 1,
        }
    }
    if unanswered > 0 {
        return Err(format!("{unanswered} of {} that spoke meanwhile were closed unanswered", streams.len()).into());
    }
    Ok(format!("{} clients spoke meanwhile, all were answered", streams.len()))
}

const OWED: usize = 1500;
const OWED_BYTES: usize = 120 << 10;
const READERS: usize = 8;

/// SIGTERM while many pipelined pings wait in the kernel: all of them are answered first.
pub(super) fn owing(scene: &Scene<'_>) -> Result<String> {
    let questions = questions(OWED_BYTES);
    let mut streams = Vec::new();
    for _ in 0..scene.connections(OWED) {
        streams.push((scene.dial()?, 0));
    }
    scene.server.signal(Signal::SIGSTOP)?;
    for (stream, sent) in &mut streams {
        stream.set_nonblocking(true)?;
        while *sent < questions.len() {
            match stream.write(&questions[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        stream.set_nonblocking(false)?;
    }
    let bytes: usize = streams.iter().map(|(_, sent)| sent).sum();
    scene.server.signal(Signal::SIGTERM)?;
    scene.server.signal(Signal::SIGCONT)?;
    let count = streams.len();
    let cut: Vec<String> = thread::scope(|scope| {
        let readers: Vec<_> =
            streams.chunks_mut(count.div_ceil(READERS)).map(|part| scope.spawn(move || read_all(part))).collect();
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader does not panic")).collect()
    });
    match cut.first() {
        Some(first) => Err(format!("{} of {count} did not get all they were owed: {first}", cut.len()).into()),
        None => Ok(format!("{count} clients were owed the answers to {} MiB, and got them", bytes >> 20)),
    }
}

/// Reads what each is owed; returns what went wrong.
fn read_all(streams: &mut [(TcpStream, usize)]) -> Vec<String> {
    let whole = questions(1).len();
    let expect = |(stream, sent): &mut (TcpStream, usize)| {
        expect_answers(stream, *sent / whole * whole).map_err(|e| e.to_string())
    };
    streams.iter_mut().filter_map(|owed| expect(owed).err()).collect()
}

const SCARCE: usize = 80;
const QUEUED: usize = 200;

/// Fewer descriptors than clients: those that find none wait, and are served as others leave.
pub(super) fn no_descriptors(scene: &Scene<'_>) -> Result<String> {
    tools::limit_descriptors(scene.server.pid, SCARCE)?;
    let mut rounds = 0;
    while scene.goes_on() {
        let mut streams = Vec::new();
        for _ in 0..scene.connections(QUEUED) {
            let mut stream = scene.dial()?;
            stream.write_all(b"ping\n")?;
            streams.push(stream);
        }
        // In the order of their coming, each leaving as soon as it has been answered.
        for mut stream in streams {
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).map_err(|error| format!("a client that waited got no answer: {error}"))?;
        }
        rounds += 1;
    }
    Ok(format!("{rounds} times {QUEUED} clients with {SCARCE} descriptors, all answered in the end"))
}

/// With every message logged to a full pipe, as standard output is one: the server answers all the same.
pub(super) fn mute(scene: &Scene<'_>) -> Result<String> {
    let mut asked = 0;
    let mut stream = UnixStream::connect(scene.server.stream_file())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    while scene.goes_on() {
        stream.write_all(b"ping\n")?;
        stream.read_exact(&mut [0; 5]).map_err(|error| format!("no answer: {error}"))?;
        asked += 1;
    }
    Ok(format!("started and logging each message with both full, {asked} pings answered"))
}
