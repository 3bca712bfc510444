//! The program says what it does not know, and `cargo test --workspace` builds it.

use std::process::Command;

#[test]
fn refuses_a_check_that_there_is_not() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ggrok-torture"));
    let ended = command.env_remove("CARGO").arg("999").output().unwrap();
    assert!(!ended.status.success());
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("there is no check 999"), "{told}");
}
