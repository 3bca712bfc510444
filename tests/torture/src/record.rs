//! Writes what was measured into the table of docs/reliability.md.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::check::Report;

/// Replaces verdict, value and limit in the row of each check: the columns behind its number and name.
pub fn write(file: &Path, reports: &[Report]) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let written: Vec<String> = text.lines().map(|line| row(line, reports)).collect();
    fs::write(file, written.join("\n") + "\n")?;
    Ok(())
}

fn row(line: &str, reports: &[Report]) -> String {
    let cells: Vec<&str> = line.split(" | ").collect();
    let id = cells[0].trim_start_matches('|').trim();
    let report = reports.iter().find(|report| report.id() == id);
    match (report, cells.as_slice()) {
        (Some(report), [id, name, _, _, _, how]) => {
            let (verdict, value, limit) = (report.verdict(), report.value(), report.limit());
            format!("{id} | {name} | {verdict} | {value} | {limit} | {how}")
        }
        _ => line.to_owned(),
    }
}
