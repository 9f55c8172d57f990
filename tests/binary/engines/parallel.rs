//! GNU parallel, without ssh.

use super::super::support::{Server, tool};
use super::{Workshop, agrees, blocks, with};

#[test]
fn jobs_of_parallel_are_one_load() {
    if !["parallel", "timeout"].into_iter().all(tool) {
        return;
    }
    let mut server = Server::start("ping=127.0.0.1:0");
    let workshop = Workshop::new();
    let recipe = with(
        &blocks("With GNU parallel, over ssh", "sh")[0],
        &[
            ("-j1 -S load1,load2,load3,load4", "-j4"),
            ("10.0.0.1:8888", server.endpoint("ping", "tcp")),
            ("-c 400 -r 40k -d 10s", "-c 40 -r 2k -d 2s --warmup 0s --allow-failures"),
            ("'10 seconds'", "'4 seconds'"),
            ("merge -", "merge - --json=sum.json"),
        ],
    );
    let ended = workshop.run(&[], &recipe);
    agrees(&workshop.sum(&ended), 4, &mut server, 0);
}
