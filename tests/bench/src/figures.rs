//! What a run of a scenario found, and what runs together say.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::load::Answers;
use crate::meter::Spent;

/// The figures of a run, by their keys.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    values: BTreeMap<&'static str, f64>,
    /// What has to be known to read them.
    notes: Vec<String>,
    /// Requests that failed. Figures are those of the others.
    failed: usize,
}

impl Figures {
    pub fn set(&mut self, key: &'static str, value: f64) {
        self.values.insert(key, value);
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Counts what failed.
    pub fn count_failed(&mut self, answers: &Answers) {
        self.failed += answers.failed;
        if let Some(reason) = &answers.reason {
            let asked = answers.count() + answers.failed;
            self.note(format!("{} of {asked} failed: {reason}", answers.failed));
        }
    }

    /// The machine's other load.
    pub fn foreign(&mut self, spent: &Spent) {
        let most = self.value("foreign").unwrap_or(0.0).max(spent.foreign);
        self.set("foreign", most);
    }

    pub fn value(&self, key: &str) -> Option<f64> {
        self.values.get(key).copied()
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub const fn failed(&self) -> usize {
        self.failed
    }
}

/// What became of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Measured(Figures),
    Skipped(String),
    Failed(String),
}

impl Outcome {
    pub const fn figures(&self) -> Option<&Figures> {
        match self {
            Self::Measured(figures) => Some(figures),
            Self::Skipped(_) | Self::Failed(_) => None,
        }
    }

    /// Whether it failed, or a request did.
    pub const fn is_broken(&self) -> bool {
        match self {
            Self::Measured(figures) => figures.failed() > 0,
            Self::Skipped(_) => false,
            Self::Failed(_) => true,
        }
    }

    fn value(&self, key: &str) -> Option<f64> {
        self.figures()?.value(key)
    }
}

/// Why a scenario does not fit; told as an error.
#[derive(Debug)]
pub struct Skipped(pub String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Skipped {}

impl From<anyhow::Result<Figures>> for Outcome {
    fn from(run: anyhow::Result<Figures>) -> Self {
        match run {
            Ok(figures) => Self::Measured(figures),
            Err(error) => match error.downcast::<Skipped>() {
                Ok(Skipped(reason)) => Self::Skipped(reason),
                Err(error) => Self::Failed(format!("{error:#}")),
            },
        }
    }
}

/// The median of a figure over the rounds.
pub fn median_of(rounds: &[Outcome], key: &str) -> Option<f64> {
    median(rounds.iter().filter_map(|round| round.value(key)).collect())
}

/// The median of the ratios of two rows within the rounds.
pub fn ratio_of(ours: &[Outcome], theirs: &[Outcome], key: &str) -> Option<f64> {
    let pairs = ours.iter().zip(theirs);
    let ratios = pairs.filter_map(|(ours, theirs)| {
        let ratio = ours.value(key)? / theirs.value(key)?;
        ratio.is_finite().then_some(ratio)
    });
    median(ratios.collect())
}

/// How far the rounds lie apart: the largest less the smallest, as a share of the median.
pub fn spread_of(rounds: &[Outcome], key: &str) -> Option<f64> {
    let values: Vec<f64> = rounds.iter().filter_map(|round| round.value(key)).collect();
    let largest = values.iter().copied().reduce(f64::max)?;
    let smallest = values.iter().copied().reduce(f64::min)?;
    let several = values.len() > 1;
    let spread = (largest - smallest) / median(values)?;
    (several && spread.is_finite()).then_some(spread)
}

/// The middle of values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(*upper);
    }
    Some((values[middle - 1] + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{Figures, Outcome, median_of, ratio_of, spread_of};

    fn round(value: f64) -> Outcome {
        let mut figures = Figures::default();
        figures.set("cpu", value);
        Outcome::Measured(figures)
    }

    #[test]
    fn compares_within_a_round_and_leaves_out_what_failed() {
        let failed = || Outcome::Failed("it hangs".to_owned());
        let ours = [round(10.0), round(20.0), round(90.0), round(5.0)];
        let theirs = [round(10.0), round(40.0), round(30.0), failed()];
        assert_eq!(median_of(&ours, "cpu"), Some(15.0));
        assert_eq!(median_of(&theirs, "cpu"), Some(30.0));
        assert_eq!(ratio_of(&ours, &theirs, "cpu"), Some(1.0));
        assert_eq!(spread_of(&theirs, "cpu"), Some(1.0));
        assert_eq!(spread_of(&theirs[..1], "cpu"), None);
        assert_eq!(median_of(&ours, "memory"), None);
        assert_eq!(ratio_of(&ours, &[failed()], "cpu"), None);
    }
}
