//! The program says what it does not know, and `cargo test --workspace` builds it.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ggrok-bench"));
    let run = command.args(arguments).output();
    run.expect("the program runs")
}

#[test]
fn refuses_what_there_is_not() {
    for (flag, what) in [("--tunnels", "frp"), ("--scenarios", "weather")] {
        let ended = run(&[flag, what]);
        assert!(!ended.status.success());
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(told.contains(&format!("there is no {what}; ")), "{told}");
    }
}

#[test]
fn lists_what_there_is() {
    let told = String::from_utf8(run(&["--list"]).stdout).unwrap();
    for name in ["ggrok", "rathole", "small", "wan"] {
        assert!(
            told.contains(&format!("\n{name} ")) || told.starts_with(name),
            "{told}"
        );
    }
}
