//! Slurm: daemons of our own, started by `tests/engines/slurm`.

use std::path::Path;

use super::super::support::{Server, tool};
use super::{Workshop, agrees, blocks, early_in, with};

#[test]
fn tasks_of_srun_are_one_load() {
    if !["slurmctld", "slurmd", "munged", "srun", "timeout"].into_iter().all(tool) {
        return;
    }
    let mut server = Server::start("ping=127.0.0.1:0");
    let workshop = Workshop::new();
    let recipe = with(
        &blocks("With Slurm", "sh")[0],
        &[
            // One node here.
            (" -N 4 ", " "),
            ("10.0.0.1:8888", server.endpoint("ping", "tcp")),
            ("-c 400 -r 40k -d 10s", "-c 40 -r 2k -d 3s --warmup 0s"),
            ("'next 10s'", "'next 5s'"),
            ("merge -", "merge - --json=sum.json"),
        ],
    );
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/slurm");
    early_in(5.0);
    let ended = workshop.run(&[engine.to_str().expect("a plain path"), "4"], &recipe);
    agrees(&workshop.sum(&ended), 4, &mut server, 0);
}
