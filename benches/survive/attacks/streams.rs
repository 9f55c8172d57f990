//! Connections that send too little, too much, or read nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use common::Result;

use super::{Scene, dial_as};

const SLOW: usize = 4000;
/// The gap between two bytes of the same slow connection is `SLOW` times this.
const SLOW_GAP: Duration = Duration::from_micros(500);

/// Many connections, each sending a line that does not end, a byte at a time.
pub(super) fn slow_loris(scene: &Scene<'_>) -> Result<String> {
    let count = scene.connections(SLOW);
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(scene.dial()?);
    }
    let mut bytes = 0;
    for turn in (0..count).cycle() {
        if !scene.goes_on() {
            break;
        }
        streams[turn].write_all(b"x")?;
        bytes += 1;
        thread::sleep(SLOW_GAP);
    }
    Ok(format!("{count} connections, {bytes} bytes of lines without an end"))
}

const DEAF: usize = 200;
/// What the kernel may keep of answers on their side.
const SMALL: usize = 4096;
const QUESTION: &[u8] = b"ping 7 abcdef\n";
const ANSWER: &[u8] = b"pong 7 abcdef\n";

/// Connections that pipeline pings as fast as the server takes them, and read nothing until the end: then every answer
/// has to come.
pub(super) fn never_readers(scene: &Scene<'_>) -> Result<String> {
    let questions = QUESTION.repeat(4096);
    let mut streams = Vec::new();
    for _ in 0..scene.connections(DEAF) {
        let stream = dial_as(scene.ping()?, |socket| socket.set_recv_buffer_size(SMALL))?;
        stream.set_nonblocking(true)?;
        streams.push((stream, 0));
    }
    while scene.goes_on() {
        for (stream, sent) in &mut streams {
            match stream.write(&questions[*sent % QUESTION.len()..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("a client that does not read was cut off: {error}").into()),
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut bytes = 0;
    for (stream, sent) in &mut streams {
        stream.set_nonblocking(false)?;
        let whole = *sent / QUESTION.len() * QUESTION.len();
        expect_answers(stream, whole)?;
        bytes += whole;
    }
    Ok(format!("{} connections asked {} MiB unread, then read all answers", streams.len(), bytes >> 20))
}

/// Reads this number of bytes of answers and compares them.
pub(super) fn expect_answers(stream: &mut TcpStream, mut bytes: usize) -> Result<()> {
    let answers = ANSWER.repeat(1024);
    let mut buffer = vec![0; answers.len()];
    while bytes > 0 {
        let part = &mut buffer[..bytes.min(answers.len())];
        stream.read_exact(part).map_err(|error| format!("{bytes} bytes of answers are missing: {error}"))?;
        if part != &answers[..part.len()] {
            return Err("wrong bytes among the answers".into());
        }
        bytes -= part.len();
    }
    Ok(())
}

/// At least this number of bytes of the questions whose answers `expect_answers` expects.
pub(super) fn questions(least: usize) -> Vec<u8> {
    QUESTION.repeat(least.div_ceil(QUESTION.len()))
}

const HOARDERS: usize = 5000;
/// Just short of `--max-message`.
const HOARD: usize = 60_000;

/// Lines that are nearly too long and do not end: 300 MB that the server has to keep.
pub(super) fn partial_lines(scene: &Scene<'_>) -> Result<String> {
    let count = scene.connections(HOARDERS);
    let line = vec![b'x'; HOARD];
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = scene.dial()?;
        stream.write_all(&line)?;
        streams.push(stream);
    }
    while scene.goes_on() {
        thread::sleep(Duration::from_millis(50));
    }
    for stream in &mut streams {
        stream.write_all(b"\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).map_err(|error| format!("a long line got no answer: {error}"))?;
        if &answer != b"pong\n" {
            return Err("a long line got a wrong answer".into());
        }
    }
    Ok(format!("{count} connections with {HOARD} bytes each of a line; then its end, and its answer"))
}

/// More than `--max-message`.
const TOO_LONG: usize = 70_000;

/// Lines that are too long: each closes its connection.
pub(super) fn over_long_lines(scene: &Scene<'_>) -> Result<String> {
    let line = vec![b'x'; TOO_LONG];
    let mut closed = 0;
    while scene.goes_on() {
        let mut stream = scene.dial()?;
        // The server may have closed before all of it was sent.
        let _ = stream.write_all(&line);
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(_) => return Err("a line that is too long was answered".into()),
            Err(error) => return Err(format!("a line that is too long did not end its connection: {error}").into()),
        }
        closed += 1;
    }
    Ok(format!("{closed} lines of {TOO_LONG} bytes, each closed"))
}
