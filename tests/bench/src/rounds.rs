//! Goes through all scenarios and all tunnels, round by round.

use serde::{Serialize, Serializer};

use crate::figures::{Figures, Outcome};
use crate::peers::{Peer, Places};
use crate::scenario::{Scenario, Shape, Stage};
use crate::sizes::Sizes;

/// What is to be run.
pub struct Plan<'a> {
    pub scenarios: Vec<&'static Scenario>,
    pub peers: &'a [Peer],
    /// Names of those that are not installed.
    pub missing: Vec<String>,
    pub places: &'a Places,
    pub sizes: &'a Sizes,
}

/// A scenario's results.
#[derive(Serialize)]
pub struct Table<'a> {
    #[serde(serialize_with = "by_name")]
    pub scenario: &'static Scenario,
    pub rows: Vec<Row<'a>>,
}

/// The results of a tunnel, or of a shape of ours.
#[derive(Serialize)]
pub struct Row<'a> {
    pub label: String,
    #[serde(skip)]
    pub peer: &'a Peer,
    #[serde(skip)]
    pub shape: Shape,
    pub rounds: Vec<Outcome>,
}

impl Row<'_> {
    /// Requests of ours that failed, and runs of ours that did.
    pub fn is_broken(&self) -> bool {
        self.peer.is_ours() && self.rounds.iter().any(Outcome::is_broken)
    }
}

impl<'a> Plan<'a> {
    /// Runs all once, and adds the outcomes. Each scenario starts with another tunnel each round, so
    /// that none is always the first.
    pub async fn round(&self, round: usize, tables: &mut [Table<'a>]) {
        for table in tables {
            let rows = table.rows.len();
            for turn in 0..rows {
                let row = &mut table.rows[(round + turn) % rows];
                eprint!("round {}, {}, ", round + 1, table.scenario.name);
                let outcome = self.undisturbed(table.scenario, row).await;
                row.rounds.push(outcome);
            }
        }
    }

    /// The tables before the first round.
    pub fn tables(&self) -> Vec<Table<'a>> {
        let scenarios = self.scenarios.iter();
        let tables = scenarios.map(|scenario| {
            let shapes = (scenario.shapes)(self.sizes);
            let rows = shapes.into_iter().flat_map(|shape| {
                let peers = self.peers.iter();
                let fitting = peers.filter(move |peer| shape == Shape::AsItIs || peer.is_ours());
                fitting.map(move |peer| Row {
                    label: shape.label(peer),
                    peer,
                    shape,
                    rounds: Vec::new(),
                })
            });
            Table {
                rows: rows.collect(),
                scenario,
            }
        });
        tables.collect()
    }

    /// Runs once, and where others kept the machine busy once more. The quieter run counts, unless
    /// something failed in the other.
    async fn undisturbed(&self, scenario: &Scenario, row: &Row<'_>) -> Outcome {
        let first = self.outcome(scenario, row).await;
        eprintln!("{}: {}", row.label, tell(scenario, &first));
        let Some(load) = foreign(&first).filter(|load| *load > self.sizes.foreign) else {
            return first;
        };
        let again = self.outcome(scenario, row).await;
        eprintln!("    again: {}", tell(scenario, &again));
        match foreign(&again) {
            Some(lower) if lower > load => first,
            _ => again,
        }
    }

    async fn outcome(&self, scenario: &Scenario, row: &Row<'_>) -> Outcome {
        if self.missing.contains(&row.peer.name) {
            let reason = "it is not installed; see `--install`";
            return Outcome::Skipped(reason.to_owned());
        }
        if let Some(reason) = row.peer.skip.get(scenario.name) {
            return Outcome::Skipped(reason.clone());
        }
        let stage = Stage {
            peer: row.peer,
            places: self.places,
            shape: row.shape,
            sizes: self.sizes,
        };
        (scenario.run)(&stage).await.into()
    }
}

/// The machine's other load during a run in which nothing failed.
fn foreign(outcome: &Outcome) -> Option<f64> {
    let whole = |figures: &&Figures| figures.failed() == 0;
    outcome.figures().filter(whole)?.value("foreign")
}

/// A run in a line.
fn tell(scenario: &Scenario, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Skipped(reason) => format!("skipped: {reason}"),
        Outcome::Failed(reason) => format!("FAILED: {reason}"),
        Outcome::Measured(figures) => {
            let columns = scenario.columns.iter().filter_map(|column| {
                let value = figures.value(column.key)?;
                Some(format!("{} {value:.*}", column.heading, column.digits))
            });
            let mut told: Vec<String> = columns.collect();
            if let Some(foreign) = figures.value("foreign") {
                told.push(format!("foreign {:.0} %", foreign * 100.0));
            }
            told.extend_from_slice(figures.notes());
            told.join(", ")
        }
    }
}

fn by_name<S: Serializer>(scenario: &Scenario, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scenario.name)
}
