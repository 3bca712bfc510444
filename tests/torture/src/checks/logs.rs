//! Logs that cannot be written, an output that nobody reads, and a relay whose name nobody knows.

use std::fs::{self, File};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::sleep;

use crate::check::{Findings, Tier};
use crate::ledger::{Ending, Ledger};
use crate::load::Load;
use crate::origin::Origin;
use crate::program::Program;
use crate::scene::{HOST, RelayProgram, TOKEN};
use crate::visitor::{Ask, Door};

/// Both programs serve on where the disk is full for their logs and their output is closed; one that
/// finds no relay waits and does not spin.
pub async fn check(tier: Tier) -> Findings {
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let relay = RelayProgram::logging_to("/dev/full".into(), &[]).await;
    let local = origin.address.to_string();
    let server = format!("ws://{}", relay.address);
    let mut command = client(&server, &local);
    command.args(["--log", "debug"]).stderr(full());
    let mut client_program = Program::start(&mut command);
    client_program.line_with("\"ready\"").await;
    client_program.close_output();
    let mut lost = client("ws://relay.invalid:80", &local);
    let lost = Program::start(lost.stderr(full()));

    let door = Door {
        address: relay.address,
        host: HOST.to_owned(),
    };
    let load = Load::start(&door, &ledger, 20);
    let serving = Duration::from_secs(tier.of(3, 20));
    sleep(serving).await;
    load.finish().await;
    let broken = ledger.len() - ledger.count(|ending| *ending == Ending::Whole);
    let before = [&relay.program, &client_program, &lost].map(ticks);
    sleep(serving).await;
    let after = [&relay.program, &client_program, &lost].map(ticks);
    // A tick is 10 ms on Linux.
    let busy = before
        .iter()
        .zip(after)
        .map(|(before, after)| after - before);
    let busiest = busy.max().unwrap_or(0) as f64 / serving.as_secs_f64();
    assert_eq!(door.ask(&ledger, Ask::get(10)).await, Ending::Whole);
    Findings::new(tier)
        .count("answers lost", broken, 0)
        .count("violations", ledger.violations().len(), 0)
        .most("busiest program at rest, % of a core", busiest, 5.0)
        .tell("logs to /dev/full, closed stdout, a relay's name that nobody knows")
        .tell("no clock jump: it would move the clock of the machine")
}

fn client(server: &str, local: &str) -> Command {
    let mut command = Program::command("ggrok-client");
    command.args(["--server", server, "--host", HOST, "--token", TOKEN]);
    command.args(["--local", local, "--json"]);
    command
}

/// A disk without room.
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// The time that a program has used, in ticks of the system.
fn ticks(program: &Program) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
    let behind_name = stat.rsplit(") ").next().unwrap();
    let fields: Vec<&str> = behind_name.split(' ').collect();
    let [user, system] = [11, 12].map(|at: usize| fields[at].parse::<u64>().unwrap());
    user + system
}
