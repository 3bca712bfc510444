//! `docs/http.md`, written from the cases.

use std::fmt::Write;
use std::path::Path;

use super::{Case, sections};
use crate::support::DIALECTS;

const INTRODUCTION: &str = "\
# HTTP, case by case

What HTTP asks of those in the middle, and whether the relay and the client do it, in each dialect.
Every line is a test that speaks raw bytes at both ends (`tests/cases`): where it says *no*, the test
shows what happens instead. A number such as 9112, 3.2 is an RFC and its section.

This file is written from the tests: `GGROK_WRITE_DOCS=1 cargo test -p ggrok-tests http_md`.
";

/// The file as it should be.
fn written() -> String {
    let mut file = INTRODUCTION.to_owned();
    for (heading, cases) in sections() {
        write!(file, "\n## {heading}\n\n").unwrap();
        file += "| | what | RFC | v2 | ggrok | magic-mirror | remark |\n";
        file += "|--:|---|---|---|---|---|---|\n";
        for case in cases {
            file += &line(&case);
        }
    }
    file
}

fn line(case: &Case) -> String {
    let Case {
        number,
        rfc,
        title,
        remark,
        ..
    } = case;
    let [v2, ggrok, magic_mirror] = DIALECTS.map(|dialect| match case.holds_in(dialect) {
        true => "yes",
        false => "no",
    });
    let line = format!("| {number} | {title} | {rfc} | {v2} | {ggrok} | {magic_mirror} | {remark}");
    line.trim_end().to_owned() + " |\n"
}

#[test]
fn http_md_says_what_the_cases_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md");
    let written = written();
    if std::env::var_os("GGROK_WRITE_DOCS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = "docs/http.md is not what the cases say: write it anew with GGROK_WRITE_DOCS=1";
    assert!(committed.replace("\r\n", "\n") == written, "{differs}");
}

#[test]
fn the_cases_are_numbered_without_a_gap() {
    let numbers = sections().into_iter().flat_map(|(_, cases)| cases);
    let numbers: Vec<u8> = numbers.map(|case| case.number).collect();
    assert_eq!(numbers, (1..=93).collect::<Vec<u8>>());
}
