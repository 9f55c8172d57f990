//! `pingpong serve`: options become services and sockets, the reactor turns, the counters are the report.
//!
//! - `options`: what is served, where and how

mod options;

use std::time::{Duration, Instant};

use pingpong::service::{Chat, Echo, Hello, Operator, Ping, Service};
use pingpong::{Address, Calls, ConsoleKind, Ending, Endpoint, ListenOptions, Quiet, ServiceId, Status, WhenFull};

use crate::DynReactor;
use crate::descriptors;
use crate::error::Error;
use crate::logger;
use crate::target;
#[cfg(feature = "watch")]
use crate::watch::Explain;

pub(crate) use options::{Kind, ServeOptions};

/// A service, and where it is to answer: each endpoint with the addresses that it has.
type Served = (Kind, Vec<(Endpoint, Vec<Address>)>);

/// Serves until a signal or `--once` ends it.
pub(crate) fn run(options: ServeOptions) -> Result<Ending, Error> {
    #[cfg(feature = "watch")]
    if let Some(depth) = options.explain {
        return serve(options, Explain::new(depth));
    }
    serve(options, Quiet)
}

/// `calls` is told of each system call.
fn serve(options: ServeOptions, calls: impl Calls) -> Result<Ending, Error> {
    // While a name is looked up, which may take long, a signal still kills us.
    let services = resolve(&options)?;

    let mut limits = options.limits.clone();
    limits.max_connections = max_connections(&options, &services);
    let mut reactor = DynReactor::with_calls(limits, calls)?;
    reactor.watch_signals()?;
    reactor.open_output(WhenFull::Drop)?;
    reactor.spin(options.spin);
    if !options.segments {
        reactor.send_datagrams_singly();
    }
    if options.once {
        reactor.serve_once();
    }
    reactor.count_lost_log_lines(&logger::LINES_LOST);

    let console = ConsoleKind::of_stdin();
    let chat = open_services(&mut reactor, &services, &options, console)?;
    if let Some(chat) = chat {
        reactor.open_input(chat, console, "server: ")?;
    }

    let ending = turn_until_ended(&mut reactor, options.stats)?;
    log::info!("{}", reactor.stats());
    Ok(ending)
}

/// Looks all hosts up.
fn resolve(options: &ServeOptions) -> Result<Vec<Served>, Error> {
    let place = |endpoint: &Endpoint| Ok((endpoint.clone(), target::resolve(endpoint)?));
    let served = |(kind, endpoints): &(Kind, Vec<Endpoint>)| {
        Ok((*kind, endpoints.iter().map(place).collect::<Result<_, Error>>()?))
    };
    options.services.iter().map(served).collect()
}

/// Adds the services, and announces where each listens. Returns the chat, which is to have the console, if there is one.
fn open_services(
    reactor: &mut DynReactor<impl Calls>,
    services: &[Served],
    options: &ServeOptions,
    console: ConsoleKind,
) -> Result<Option<ServiceId>, Error> {
    let mut chat = None;
    for (kind, places) in services {
        let mut add = || reactor.add(kind.name(), service(*kind, options, console));
        // There is one console, so all endpoints of chat are one service.
        let service = if *kind == Kind::Chat { *chat.get_or_insert_with(add) } else { add() };
        for (endpoint, addresses) in places {
            for bound in reactor.listen_at(service, endpoint, addresses, &options.listen)? {
                reactor.announce(format_args!("listening {} {bound}", kind.name()))?;
            }
        }
    }
    reactor.announce("ready")?;
    Ok(chat)
}

fn service(kind: Kind, options: &ServeOptions, console: ConsoleKind) -> Box<dyn Service> {
    match kind {
        Kind::Ping => Box::new(Ping::new(options.framing)),
        Kind::Hello => Box::new(Hello::new(options.framing, options.delay)),
        Kind::Echo => Box::new(Echo),
        Kind::Chat => Box::new(Chat::new(options.framing, operator(console))),
    }
}

fn operator(console: ConsoleKind) -> Operator {
    match console {
        ConsoleKind::Terminal => Operator::Person,
        ConsoleKind::Script => Operator::Script,
        ConsoleKind::Nobody => Operator::Nobody,
    }
}

/// Turns, shows the sockets when asked, and logs the counters at each interval, if there is one.
fn turn_until_ended(reactor: &mut DynReactor<impl Calls>, interval: Option<Duration>) -> Result<Ending, Error> {
    let mut due = interval.map(|interval| Instant::now() + interval);
    loop {
        if let Status::Ended(ending) = reactor.turn(due.map(|due| due.saturating_duration_since(Instant::now())))? {
            return Ok(ending);
        }
        if reactor.take_sockets_request() {
            show_sockets(reactor);
        }
        if let (Some(at), Some(interval)) = (due, interval) {
            let now = Instant::now();
            if now >= at {
                log::info!("{}", reactor.stats());
                due = Some(now + interval);
            }
        }
    }
}

/// Answers a SIGUSR2.
#[cfg(feature = "watch")]
fn show_sockets(reactor: &DynReactor<impl Calls>) {
    logger::show(&crate::watch::sockets(reactor));
}

/// Without the feature `watch` the kernel cannot be asked; but a signal that ended the server would be worse.
#[cfg(not(feature = "watch"))]
fn show_sockets(_: &DynReactor<impl Calls>) {
    log::warn!("SIGUSR2: this build has no table of sockets (it is built without 'watch'; SIGUSR1 logs the counters)");
}

/// How many sockets each of these addresses takes at most.
fn sockets_at(endpoint: &Endpoint, addresses: &[Address]) -> usize {
    let is_wildcard = |address: &Address| matches!(address, Address::Ip(address) if address.ip().is_unspecified());
    if matches!(endpoint, Endpoint::Udp(_)) && addresses.iter().any(is_wildcard) {
        1 + ListenOptions::MOST_BESIDE
    } else {
        1
    }
}

/// How many connections there may be: as many as asked for, as far as descriptors allow.
fn max_connections(options: &ServeOptions, services: &[Served]) -> usize {
    let places = services.iter().flat_map(|(_, places)| places);
    let listening =
        places.map(|(endpoint, addresses)| addresses.len() * sockets_at(endpoint, addresses)).sum::<usize>();
    let descriptors = descriptors::raise_limit();
    let allowed = descriptors.saturating_sub(descriptors::RESERVED + listening).max(1);
    match options.max_connections {
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
