//! The report: facts, goals, and a table for each scenario.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::facts::Facts;
use crate::figures::{Outcome, median, median_of, ratio_of, spread_of};
use crate::goals;
use crate::rounds::{Row, Table};
use crate::scenario::{Column, Shape};
use crate::sizes::Sizes;

/// All that was found.
#[derive(Serialize)]
pub struct Report<'a> {
    pub facts: Facts,
    pub tables: Vec<Table<'a>>,
}

impl Report<'_> {
    /// The report as Markdown.
    pub fn markdown(&self, sizes: &Sizes) -> String {
        let mut text = facts(&self.facts);
        text.push_str("\n### Goals\n\n");
        text.push_str(&goals::table(&self.tables));
        for table in &self.tables {
            let name = table.scenario.name;
            let about = (table.scenario.about)(sizes);
            // Writing to a string cannot fail.
            write!(text, "\n### {name}\n\n{}.\n\n", capitalized(&about)).ok();
            text.push_str(&scenario(table));
            text.push_str(&noise(table));
        }
        text
    }

    /// Writes it between the two marks of a file, which is made where it is not there.
    ///
    /// # Errors
    /// Where the file cannot be read or written, or has no marks.
    pub fn write(&self, file: &Path, sizes: &Sizes) -> anyhow::Result<()> {
        let measured = self.markdown(sizes);
        let text = match fs::read_to_string(file) {
            Ok(text) => between_marks(&text, &measured)
                .with_context(|| format!("{} has no {START} and {END}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                format!("{START}\n\n{measured}\n{END}\n")
            }
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        fs::write(file, text).with_context(|| file.display().to_string())
    }
}

const START: &str = "<!-- measured -->";
const END: &str = "<!-- /measured -->";

fn between_marks(text: &str, measured: &str) -> Option<String> {
    let (before, rest) = text.split_once(START)?;
    let (_, behind) = rest.split_once(END)?;
    Some(format!("{before}{START}\n\n{measured}\n{END}{behind}"))
}

fn facts(facts: &Facts) -> String {
    let Facts {
        date,
        commit,
        programs,
        machine,
        rounds,
        ..
    } = facts;
    let rounds = match (rounds, facts.quick) {
        (1, true) => "One quick round: to see that it works, and no more".to_owned(),
        (rounds, true) => {
            format!("Medians of {rounds} quick rounds: to see that it works, and no more")
        }
        (1, false) => "One round".to_owned(),
        (rounds, false) => format!("Medians of {rounds} rounds"),
    };
    let mut text = format!(
        "{rounds}. {date}, commit {commit}, {programs}. {machine}.\n\n\
         | tunnel | version | what it is |\n|---|---|---|\n"
    );
    for tunnel in &facts.tunnels {
        let (name, about) = (&tunnel.name, &tunnel.about);
        let version = tunnel.version.as_deref().unwrap_or("not installed");
        writeln!(text, "| {name} | {version} | {about} |").ok();
    }
    text
}

fn scenario(table: &Table<'_>) -> String {
    let columns = table.scenario.columns;
    let of_peers = table.rows.iter().all(|row| row.shape == Shape::AsItIs);
    let (first, ratio) = match of_peers {
        true => ("tunnel", "ours ÷ its"),
        false => ("ggrok", "÷ the first"),
    };
    let mut headings = vec![first];
    for column in columns {
        headings.push(column.heading);
        if column.is_compared {
            headings.push(ratio);
        }
    }
    headings.push("notes");
    let mut text = line(headings.iter().map(|heading| (*heading).to_owned()));
    let aligned = headings.iter().enumerate().map(|(at, _)| match at {
        0 => "---",
        at if at + 1 == headings.len() => "---",
        _ => "--:",
    });
    text.push_str(&line(aligned.map(str::to_owned)));
    for row in &table.rows {
        let mut cells = vec![row.label.clone()];
        for column in columns {
            cells.push(shown(median_of(&row.rounds, column.key), column));
            if column.is_compared {
                let ratio = compared(table, row, column.key, of_peers);
                cells.push(ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")));
            }
        }
        cells.push(notes(row));
        text.push_str(&line(cells.into_iter()));
    }
    text
}

/// Ours in proportion to a tunnel's; of shapes of ours, one in proportion to the first.
fn compared(table: &Table<'_>, row: &Row<'_>, key: &str, of_peers: bool) -> Option<f64> {
    if of_peers {
        let ours = table.rows.iter().find(|row| row.peer.is_ours())?;
        let is_other = !row.peer.is_ours();
        return is_other.then(|| ratio_of(&ours.rounds, &row.rounds, key))?;
    }
    let first = table.rows.first()?;
    let is_other = first.shape != row.shape;
    is_other.then(|| ratio_of(&row.rounds, &first.rounds, key))?
}

fn shown(value: Option<f64>, column: &Column) -> String {
    value.map_or_else(String::new, |value| format!("{value:.*}", column.digits))
}

/// What has to be said of a row: each thing once.
fn notes(row: &Row<'_>) -> String {
    let mut notes: Vec<String> = Vec::new();
    for round in &row.rounds {
        let told = match round {
            Outcome::Measured(figures) => figures.notes().to_vec(),
            Outcome::Skipped(reason) => vec![format!("not measured: {reason}")],
            Outcome::Failed(reason) => vec![format!("failed: {reason}")],
        };
        for note in told {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes.join("; ")
}

/// How far the figures can be trusted: the load that others put on the machine meanwhile, and how far
/// the rounds lie apart in the first column.
fn noise(table: &Table<'_>) -> String {
    let rounds = table.rows.iter().flat_map(|row| &row.rounds);
    let shares = rounds.filter_map(|round| round.figures()?.value("foreign"));
    let shares: Vec<f64> = shares.map(|share| share * 100.0).collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    let Some(middle) = median(shares) else {
        return String::new();
    };
    let mut text = format!("\nForeign load: {middle:.0} %, at most {most:.0} %.");
    if let Some(column) = table.scenario.columns.first() {
        let rows = table.rows.iter();
        let spreads = rows.filter_map(|row| spread_of(&row.rounds, column.key));
        if let Some(widest) = spreads.reduce(f64::max) {
            let (heading, percent) = (column.heading, widest * 100.0);
            write!(text, " Rounds lie up to {percent:.0} % apart ({heading}).").ok();
        }
    }
    text.push('\n');
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells
        .map(|cell| cell.replace('|', "/").replace('\n', " "))
        .collect();
    format!("| {} |\n", cells.join(" | "))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::{END, START, between_marks};

    #[test]
    fn writes_between_the_marks_alone() {
        let text = format!("before\n{START}\nold\n{END}\nbehind");
        let written = between_marks(&text, "new\n").unwrap();
        assert_eq!(written, format!("before\n{START}\n\nnew\n\n{END}\nbehind"));
        assert_eq!(between_marks(&written, "new\n").unwrap(), written);
        assert_eq!(between_marks("no marks", "new"), None);
    }
}
