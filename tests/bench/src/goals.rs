//! What is to be reached, and whether it was.

use crate::figures::{median_of, ratio_of};
use crate::peers::OURS;
use crate::rounds::{Row, Table};

/// A figure with its bounds.
struct Goal {
    scenario: &'static str,
    what: &'static str,
    key: &'static str,
    /// The tunnel that ours is compared with; none for a figure of ours alone.
    against: Option<&'static str>,
    reach: Option<f64>,
    aim: Option<f64>,
}

impl Goal {
    const fn of(scenario: &'static str, what: &'static str, key: &'static str) -> Self {
        Self {
            scenario,
            what,
            key,
            against: None,
            reach: None,
            aim: None,
        }
    }

    const fn against(mut self, tunnel: &'static str) -> Self {
        self.against = Some(tunnel);
        self
    }

    const fn reach(mut self, most: f64) -> Self {
        self.reach = Some(most);
        self
    }

    const fn aim(mut self, most: f64) -> Self {
        self.aim = Some(most);
        self
    }

    fn measured(&self, tables: &[Table<'_>]) -> Option<f64> {
        let table = tables
            .iter()
            .find(|table| table.scenario.name == self.scenario)?;
        let named = |name: &str| table.rows.iter().find(move |row| row.peer.name == name);
        let ours: &Row<'_> = named(OURS)?;
        if let Some(tunnel) = self.against {
            return ratio_of(&ours.rounds, &named(tunnel)?.rounds, self.key);
        }
        median_of(&ours.rounds, self.key)
    }

    fn row(&self, measured: Option<f64>) -> String {
        let figure = match self.against {
            Some(tunnel) => format!("{} ÷ {tunnel}'s", self.what),
            None => self.what.to_owned(),
        };
        let shown =
            measured.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.3}"));
        let verdict = |most: Option<f64>| match (most, measured) {
            (Some(most), Some(value)) if value <= most => "yes",
            (Some(_), Some(_)) => "no",
            _ => "",
        };
        let bound =
            |most: Option<f64>| most.map_or_else(String::new, |most| format!("≤ {most:.2}"));
        format!(
            "| {} | {figure} | {shown} | {} | {} | {} | {} |\n",
            self.scenario,
            bound(self.reach),
            verdict(self.reach),
            bound(self.aim),
            verdict(self.aim)
        )
    }
}

/// The table of goals.
pub fn table(tables: &[Table<'_>]) -> String {
    let mut text = String::from(
        "| scenario | figure | measured | to reach | reached | to aim for | reached |\n\
         |---|---|--:|--:|---|--:|---|\n",
    );
    for goal in GOALS {
        text.push_str(&goal.row(goal.measured(tables)));
    }
    text
}

const GOALS: &[Goal] = &[
    Goal::of("small", "CPU", "cpu_us")
        .against("rathole")
        .reach(1.0)
        .aim(0.8),
    Goal::of("small", "CPU", "cpu_us")
        .against("bore")
        .reach(1.0),
    Goal::of("small", "CPU", "cpu_us")
        .against("nginx")
        .reach(0.8),
    Goal::of("seq", "CPU", "cpu_us")
        .against("bore")
        .reach(1.2)
        .aim(1.0),
    Goal::of("seq", "p50", "p50_ms")
        .against("bore")
        .reach(1.15)
        .aim(1.0),
    Goal::of("fresh", "CPU", "cpu_us")
        .against("rathole")
        .reach(0.3),
    Goal::of("fresh", "CPU", "cpu_us").against("nginx").aim(0.8),
    Goal::of("download", "CPU", "cpu_s")
        .against("bore")
        .reach(0.65),
    Goal::of("upload", "CPU", "cpu_s")
        .against("bore")
        .reach(0.65),
    Goal::of("neighbours", "p99 ÷ alone", "times")
        .reach(2.0)
        .aim(1.2),
    Goal::of("wan", "a request, round trips", "single")
        .reach(1.05)
        .aim(1.0),
    Goal::of("wan", "a page, round trips", "page")
        .reach(11.4)
        .aim(11.0),
    Goal::of("wan", "a burst, round trips", "burst")
        .reach(1.5)
        .aim(1.3),
    Goal::of("idle-visitors", "MiB of both", "both_mib")
        .reach(45.0)
        .aim(30.0),
    Goal::of("idle-tunnels", "KiB of the relay a tunnel", "kib_each")
        .reach(40.0)
        .aim(16.0),
];

#[cfg(test)]
mod tests {
    use super::{GOALS, Goal};
    use crate::scenarios;

    #[test]
    fn names_figures_that_there_are() {
        for goal in GOALS {
            let mut all = scenarios::ALL.iter();
            let scenario = all.find(|scenario| scenario.name == goal.scenario).unwrap();
            let mut columns = scenario.columns.iter();
            assert!(
                columns.any(|column| column.key == goal.key),
                "{}",
                goal.what
            );
        }
    }

    #[test]
    fn says_what_was_reached() {
        let goal = Goal::of("small", "CPU", "cpu")
            .against("bore")
            .reach(1.0)
            .aim(0.8);
        let cells = |measured| goal.row(measured).replace(' ', "");
        assert_eq!(
            cells(Some(0.9)),
            "|small|CPU÷bore's|0.900|≤1.00|yes|≤0.80|no|\n"
        );
        assert_eq!(
            cells(Some(1.1)),
            "|small|CPU÷bore's|1.100|≤1.00|no|≤0.80|no|\n"
        );
        assert_eq!(
            cells(None),
            "|small|CPU÷bore's|notmeasured|≤1.00||≤0.80||\n"
        );
    }
}
