//! One attack from the server's start to its end: what is looked at, and what has to hold.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use common::Result;
use common::child::Cpus;

use crate::attacks::{After, Attack, Scene};
use crate::bystander::{Bystander, Place, Seen};
use crate::counters::Counters;
use crate::server::{Leaving, Server, Target};
use crate::tools;

/// How long the bystander asks before and, at least, after the attack.
const ALONE: Duration = Duration::from_secs(2);
/// A server that starts has answered by then.
const STARTS_WITHIN: Duration = Duration::from_secs(5);
/// Memory and descriptors are back by then.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);
/// How much of its memory from before a server may have after the attack.
const MEMORY_AFTER: f64 = 1.5;
/// Less than that is no memory that an attack could use up: a few buffers, and pages that were not touched before.
const MEMORY_OF_NOTE: u64 = 4 << 20;
/// The share of a CPU that a server with nothing to do may use.
const BUSY: f64 = 0.02;
/// A server with no client leaves within that; one that owes answers within `--drain`.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);
const DRAINS_WITHIN: Duration = Duration::from_secs(40);
/// How often to look at a server under attack.
const LOOK: Duration = Duration::from_millis(250);

/// What one attack brought.
#[derive(Default)]
pub(crate) struct Trial {
    /// What the attack did, as it says.
    pub(crate) note: String,
    /// What the bystander saw before, during and after.
    pub(crate) seen: Vec<Seen>,
    /// Resident bytes.
    pub(crate) memory: Three,
    pub(crate) descriptors: Three,
    /// Open connections, as the server's counters have them.
    pub(crate) open: Three,
    pub(crate) counters: Option<Counters>,
    pub(crate) busy: Option<f64>,
    pub(crate) left_in: Option<Duration>,
    /// What did not hold.
    pub(crate) faults: Vec<String>,
}

/// A figure before an attack, at the most, and after it; none where there was no telling.
type Three = [Option<u64>; 3];

impl Trial {
    pub(crate) fn run(attack: &Attack, folder: &Path, cpus: Cpus, length: Duration) -> Self {
        let mut trial = Self::default();
        if let Err(error) = trial.go_through(attack, folder, cpus, length) {
            trial.faults.push(error.to_string());
        }
        trial
    }

    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    fn go_through(&mut self, attack: &Attack, folder: &Path, cpus: Cpus, length: Duration) -> Result<()> {
        if attack.needs.contains(&"cc") {
            tools::compile_shim(folder)?;
        }
        let mut server = Server::start(&attack.start, folder, cpus)?;
        let place = match server.target.address("ping tcp") {
            Ok(address) => Place::Tcp(address),
            Err(_) => Place::Unix(server.target.stream_file()),
        };
        let bystander = Bystander::start(&place, STARTS_WITHIN)?;
        let mut moments = vec![Instant::now()];
        thread::sleep(ALONE);
        let clear = Clear::of(&server.target)?;
        self.look(&server.target, 0)?;

        moments.push(Instant::now());
        let scene = Scene { server: &server.target, folder, cpus, deadline: Instant::now() + length };
        if attack.after == After::Gone {
            // The bystander's connections end before the server is told to leave.
            self.seen = bystander.stop(&moments);
            self.watch(attack, &scene)?;
            let leaving = server.end(DRAINS_WITHIN)?;
            self.judge_leaving(leaving, DRAINS_WITHIN, &server.target);
            return Ok(());
        }
        self.watch(attack, &scene)?;
        moments.push(Instant::now());
        thread::sleep(ALONE);
        self.recover(&server.target, &clear)?;
        moments.push(Instant::now());
        self.seen = bystander.stop(&moments);
        self.judge_bystander(attack);
        self.judge_rest(&server.target)?;
        self.counters = server.target.counters();
        let leaving = server.leave(Duration::from_secs(10))?;
        self.judge_leaving(leaving, LEAVES_WITHIN, &server.target);
        Ok(())
    }

    /// Lets the attack run, and looks at the server meanwhile.
    fn watch(&mut self, attack: &Attack, scene: &Scene<'_>) -> Result<()> {
        thread::scope(|scope| {
            let attacker = scope.spawn(|| (attack.run)(scene).map_err(|error| error.to_string()));
            while !attacker.is_finished() {
                thread::sleep(LOOK);
                // One that has been told to leave may have left.
                let _ = self.look(scene.server, 1);
            }
            match attacker.join().map_err(|_| "the attack itself has a fault")? {
                Ok(note) => self.note = note,
                Err(fault) => self.faults.push(fault),
            }
            Ok(())
        })
    }

    /// Notes what there is of everything: before (0), at the most (1), after (2).
    fn look(&mut self, server: &Target, when: usize) -> Result<()> {
        let (memory, peak) = server.memory()?;
        let note = |three: &mut Three, figure: u64| three[when] = three[when].filter(|_| when == 1).max(Some(figure));
        note(&mut self.memory, if when == 1 { peak } else { memory });
        note(&mut self.descriptors, server.descriptors()?);
        if let Some(counters) = server.counters() {
            note(&mut self.open, counters.count("open"));
        }
        Ok(())
    }

    /// Waits until memory and descriptors are back.
    fn recover(&mut self, server: &Target, clear: &Clear) -> Result<()> {
        let deadline = Instant::now() + RECOVERS_WITHIN;
        loop {
            let faults = clear.faults(&Clear::of(server)?);
            if faults.is_empty() || Instant::now() >= deadline {
                self.faults.extend(faults);
                return self.look(server, 2);
            }
            thread::sleep(LOOK);
        }
    }

    fn judge_bystander(&mut self, attack: &Attack) {
        let wrong: usize = self.seen.iter().map(|seen| seen.wrong).sum();
        let lost: usize = self.seen.iter().map(|seen| seen.lost).sum();
        if wrong > 0 {
            self.faults.push(format!("the bystander got {wrong} wrong answers"));
        }
        if lost > attack.may_lose {
            self.faults.push(format!("the bystander lost {lost} answers"));
        }
    }

    fn judge_rest(&mut self, server: &Target) -> Result<()> {
        let busy = server.busy()?;
        self.busy = Some(busy);
        if busy > BUSY {
            self.faults.push(format!("{:.0} % of a CPU with nothing to do", busy * 100.0));
        }
        Ok(())
    }

    fn judge_leaving(&mut self, leaving: Leaving, within: Duration, server: &Target) {
        self.left_in = Some(leaving.took);
        if leaving.took > within {
            self.faults.push(format!("leaving took {:.1} s", leaving.took.as_secs_f64()));
        }
        if leaving.code != Some(0) {
            let last_words = server.last_words();
            self.faults.push(leaving.code.map_or_else(
                || "it was ended by a signal".to_owned(),
                |code| format!("exit code {code}: {last_words}"),
            ));
        }
    }
}

/// What an attack has to leave as it was.
struct Clear {
    memory: u64,
    descriptors: u64,
}

impl Clear {
    fn of(server: &Target) -> Result<Self> {
        let (memory, _) = server.memory()?;
        Ok(Self { memory, descriptors: server.descriptors()? })
    }

    /// What is not as it was.
    fn faults(&self, now: &Self) -> Vec<String> {
        let mut faults = Vec::new();
        let times = now.memory as f64 / self.memory as f64;
        if times > MEMORY_AFTER && now.memory > self.memory + MEMORY_OF_NOTE {
            faults.push(format!("memory {times:.1} times what it was"));
        }
        if now.descriptors > self.descriptors {
            faults.push(format!("{} descriptors more than before", now.descriptors - self.descriptors));
        }
        faults
    }
}
