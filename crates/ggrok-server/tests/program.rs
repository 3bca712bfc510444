//! The program is there and knows its name. That it is tested here also makes
//! `cargo test --workspace` build it for the scenarios in `tests/`.

use std::process::Command;

#[test]
fn prints_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_ggrok-server"))
        .arg("--version")
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    assert_eq!(
        text,
        concat!("ggrok-server ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
