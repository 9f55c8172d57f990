//! The bystander: connections that do nothing wrong, while others attack the server.
//!
//! Together they ask a `ping` every 2.5 ms and compare the answers. A question counts from when it was due: one that
//! comes late, because the answer before it was late, has waited too. So that one late answer delays few questions,
//! each connection asks seldom.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::Result;

const CONNECTIONS: u32 = 100;
/// How often each of them asks.
const EVERY: Duration = Duration::from_millis(250);
/// An answer that has not come by then is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where it asks.
#[derive(Clone)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    fn dial(&self) -> io::Result<Box<dyn Conversation>> {
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Self::Unix(file) => {
                let stream = UnixStream::connect(file)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }
}

trait Conversation: Read + Write {}
impl<S: Read + Write> Conversation for S {}

#[derive(PartialEq)]
enum Came {
    Right,
    Wrong,
    Never,
}

struct Question {
    due: Instant,
    answered: Instant,
    came: Came,
}

/// What it saw in some time.
pub(crate) struct Seen {
    pub(crate) asked: usize,
    pub(crate) wrong: usize,
    pub(crate) lost: usize,
    /// None when nothing was asked.
    pub(crate) p99: Option<Duration>,
}

pub(crate) struct Bystander {
    stops: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Question>>>,
}

impl Bystander {
    /// Starts it; its first connection is made and answered before this returns.
    pub(crate) fn start(place: &Place, within: Duration) -> Result<Self> {
        let deadline = Instant::now() + within;
        let mut buffer = Vec::new();
        while !place.dial().is_ok_and(|mut stream| ask(&mut *stream, 0, &mut buffer) == Came::Right) {
            if Instant::now() >= deadline {
                return Err(format!("no answer within {} s of the start", within.as_secs()).into());
            }
            thread::sleep(EVERY / 10);
        }
        let stops = Arc::new(AtomicBool::new(false));
        let now = Instant::now();
        let threads = (0..CONNECTIONS).map(|number| {
            let (place, stops) = (place.clone(), Arc::clone(&stops));
            let first = now + EVERY * number / CONNECTIONS;
            thread::spawn(move || talk(&place, first, &stops))
        });
        Ok(Self { threads: threads.collect(), stops })
    }

    /// Ends it, and says what it saw between each two of these moments.
    pub(crate) fn stop(self, moments: &[Instant]) -> Vec<Seen> {
        self.stops.store(true, Ordering::Relaxed);
        let questions: Vec<Question> =
            self.threads.into_iter().flat_map(|thread| thread.join().expect("a bystander does not panic")).collect();
        moments.windows(2).map(|span| Seen::between(span[0], span[1], &questions)).collect()
    }
}

impl Seen {
    fn between(from: Instant, to: Instant, questions: &[Question]) -> Self {
        let due: Vec<&Question> = questions.iter().filter(|question| (from..to).contains(&question.due)).collect();
        let count = |came: Came| due.iter().filter(|question| question.came == came).count();
        let mut waits: Vec<Duration> = due.iter().map(|question| question.answered - question.due).collect();
        waits.sort();
        Self {
            asked: due.len(),
            wrong: count(Came::Wrong),
            lost: count(Came::Never),
            p99: waits.get(waits.len() * 99 / 100).copied(),
        }
    }
}

fn talk(place: &Place, first: Instant, stops: &AtomicBool) -> Vec<Question> {
    let mut questions = Vec::new();
    let mut stream = None;
    let mut buffer = Vec::new();
    let mut due = first;
    let mut number = 0;
    while !stops.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        number += 1;
        if stream.is_none() {
            stream = place.dial().ok();
        }
        let came = stream.as_mut().map_or(Came::Never, |stream| ask(&mut **stream, number, &mut buffer));
        if came != Came::Right {
            stream = None;
        }
        questions.push(Question { due, answered: Instant::now(), came });
        due += EVERY;
    }
    questions
}

fn ask(stream: &mut dyn Conversation, number: usize, buffer: &mut Vec<u8>) -> Came {
    let expected = format!("pong {number}\n");
    buffer.resize(expected.len(), 0);
    let asked = stream.write_all(format!("ping {number}\n").as_bytes());
    match asked.and_then(|()| stream.read_exact(buffer)) {
        Ok(()) if buffer == expected.as_bytes() => Came::Right,
        Ok(()) => Came::Wrong,
        Err(_) => Came::Never,
    }
}
