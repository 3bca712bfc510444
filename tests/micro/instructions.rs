//! Counts the instructions of each operation with valgrind, on machines that count none themselves or
//! where other programs disturb the clock: `cargo bench -p ggrok-micro --bench instructions`.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ggrok_protocol::bench::Operation;

mod operations;

fn main() -> Result<()> {
    let operations = operations::groups().into_iter().flat_map(|(_, all)| all);
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == ONE
    {
        run(operations.into_iter().find(|one| one.name == *name));
        return Ok(());
    }
    // cargo adds a flag of its own.
    let wanted = arguments.iter().find(|word| !word.starts_with("--"));
    println!("{:<32}{:>16}", "operation", "instructions");
    for Operation { name, times, .. } in operations {
        if wanted.is_none_or(|part| name.contains(part)) {
            println!("{name:<32}{:>16}", count(&name)? / (RUNS * times));
        }
    }
    Ok(())
}

/// Says that this process is the one under valgrind, and which operation it runs.
const ONE: &str = "--one";

/// Runs that are counted: enough that what a run does now and then has its share.
const RUNS: u64 = 100;

/// How many instructions all runs of an operation take, in a process of their own.
fn count(name: &str) -> Result<u64> {
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted*")
        .arg(env::current_exe()?)
        .args([ONE, name])
        .output()
        .context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&valgrind.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected.map(|(_, number)| number.trim().parse()) {
        // Nothing is counted where the symbols were stripped.
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => bail!("valgrind counted nothing:\n{said}"),
    }
}

fn run(operation: Option<Operation>) {
    let mut operation = operation.expect("the name is from the list");
    // What is prepared once does not count.
    (operation.run)();
    counted(&mut operation.run);
}

/// All that valgrind counts.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    for _ in 0..RUNS {
        run();
    }
}
