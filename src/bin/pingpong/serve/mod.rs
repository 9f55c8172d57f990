//! `pingpong serve`: options become services and sockets, the reactor turns, the counters are the report.

mod options;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::DynReactor;
use crate::descriptors;
use crate::error::Error;
use crate::logger;
use pingpong::Endpoint;
use pingpong::service::{Chat, Echo, Hello, Operator, Ping, Service};
use pingpong::{ConsoleKind, Ending, Status, WhenFull};

pub(crate) use options::{Kind, ServeOptions};

/// Serves until a signal or `--once` ends it.
pub(crate) fn run(options: ServeOptions) -> Result<Ending, Error> {
    let mut limits = options.limits.clone();
    limits.max_connections = max_connections(options.max_connections, endpoints(&options).count());
    let mut reactor = DynReactor::new(limits)?;
    reactor.watch_signals()?;
    reactor.spin(options.spin);
    if options.once {
        reactor.serve_once();
    }
    reactor.count_lost_log_lines(&logger::LINES_LOST);

    // Chat has one console, so all its endpoints are one service.
    let has_chat = options.services.iter().any(|(kind, _)| *kind == Kind::Chat);
    let chat = has_chat.then(|| reactor.add(Kind::Chat.name(), service(Kind::Chat, &options)));
    for (kind, endpoints) in &options.services {
        let service = match (kind, chat) {
            (Kind::Chat, Some(chat)) => chat,
            _ => reactor.add(kind.name(), service(*kind, &options)),
        };
        for endpoint in endpoints {
            for bound in reactor.listen_with(service, endpoint, &options.listen)? {
                announce(format_args!("listening {} {bound}", kind.name()));
            }
        }
    }
    announce(format_args!("ready"));
    if let Some(chat) = chat {
        reactor.open_console(chat, ConsoleKind::of_stdin(), "server: ", WhenFull::Drop)?;
    }

    let ending = turn_until_ended(&mut reactor, options.stats)?;
    log::info!("{}", reactor.stats());
    Ok(ending)
}

fn service(kind: Kind, options: &ServeOptions) -> Box<dyn Service> {
    match kind {
        Kind::Ping => Box::new(Ping::new(options.framing)),
        Kind::Hello => Box::new(Hello::new(options.framing, options.delay)),
        Kind::Echo => Box::new(Echo),
        Kind::Chat => Box::new(Chat::new(options.framing, operator(ConsoleKind::of_stdin()))),
    }
}

fn operator(console: ConsoleKind) -> Operator {
    match console {
        ConsoleKind::Terminal => Operator::Person,
        ConsoleKind::Script => Operator::Script,
        ConsoleKind::Nobody => Operator::Nobody,
    }
}

fn endpoints(options: &ServeOptions) -> impl Iterator<Item = &Endpoint> {
    options.services.iter().flat_map(|(_, endpoints)| endpoints)
}

/// Turns, and logs the counters at each interval, if there is one.
fn turn_until_ended(reactor: &mut DynReactor, interval: Option<Duration>) -> Result<Ending, Error> {
    let Some(interval) = interval else { return Ok(reactor.run()?) };
    let mut due = Instant::now() + interval;
    loop {
        if let Status::Ended(ending) = reactor.turn(Some(due.saturating_duration_since(Instant::now())))? {
            return Ok(ending);
        }
        let now = Instant::now();
        if now >= due {
            log::info!("{}", reactor.stats());
            due = now + interval;
        }
    }
}

/// How many connections there may be: as many as asked for, as far as descriptors allow.
fn max_connections(asked: Option<usize>, endpoints: usize) -> usize {
    let descriptors = descriptors::raise_limit();
    let allowed = descriptors.saturating_sub(descriptors::RESERVED + endpoints).max(1);
    match asked {
        Some(asked) if asked > allowed => {
            log::warn!(
                "--max-connections {asked} is more than {descriptors} descriptors allow: {allowed} it is (raise 'ulimit -Hn')"
            );
            allowed
        }
        Some(asked) => asked,
        None => allowed,
    }
}

/// A line on standard output. Whoever does not read it does not stop the server.
fn announce(line: std::fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
