//! What a scenario is: rows that run, and columns that are shown.

use futures_util::future::LocalBoxFuture;

use crate::figures::Figures;
use crate::peers::{Peer, Places};
use crate::sizes::Sizes;
use crate::tunnel::{Between, Setup, Tunnel};

/// Something that is measured, of each tunnel or of ours in several shapes.
pub struct Scenario {
    pub name: &'static str,
    /// What happens, for the table's head.
    pub about: fn(&Sizes) -> String,
    pub shapes: fn(&Sizes) -> Vec<Shape>,
    pub columns: &'static [Column],
    pub run: for<'a> fn(&'a Stage<'a>) -> LocalBoxFuture<'a, anyhow::Result<Figures>>,
}

/// In which shape a tunnel is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As its entry has it: all tunnels, each a row.
    AsItIs,
    /// Ours, with so many tunnels at the relay.
    Tunnels(usize),
    /// Ours, with so many visitors who are connected.
    Visitors(usize),
    /// Ours, with so many worker threads on both sides.
    Workers(usize),
    /// Ours, through a forwarder that ends TLS or has none.
    Tls(bool),
}

impl Shape {
    /// The name of such a row.
    pub fn label(self, peer: &Peer) -> String {
        match self {
            Self::AsItIs => peer.name.clone(),
            Self::Tunnels(1) => "1 tunnel".to_owned(),
            Self::Tunnels(count) => format!("{} tunnels", grouped(count)),
            Self::Visitors(1) => "1 visitor".to_owned(),
            Self::Visitors(count) => format!("{} visitors", grouped(count)),
            Self::Workers(count) => format!("`--workers {count}`"),
            Self::Tls(true) => "with TLS".to_owned(),
            Self::Tls(false) => "without TLS".to_owned(),
        }
    }
}

/// A column of a scenario's table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub key: &'static str,
    pub heading: &'static str,
    /// Digits behind the point.
    pub digits: usize,
    /// Whether the ratio to the others is shown beside it.
    pub is_compared: bool,
}

impl Column {
    /// One that is only shown.
    pub const fn shown(key: &'static str, heading: &'static str, digits: usize) -> Self {
        Self {
            key,
            heading,
            digits,
            is_compared: false,
        }
    }

    /// One that tunnels are compared by.
    pub const fn compared(key: &'static str, heading: &'static str, digits: usize) -> Self {
        Self {
            is_compared: true,
            ..Self::shown(key, heading, digits)
        }
    }
}

/// Where a scenario runs.
pub struct Stage<'a> {
    pub peer: &'a Peer,
    pub places: &'a Places,
    pub shape: Shape,
    pub sizes: &'a Sizes,
}

impl Stage<'_> {
    /// Starts the tunnel as it is.
    ///
    /// # Errors
    /// Why it does not start.
    pub async fn tunnel(&self) -> anyhow::Result<Tunnel> {
        Tunnel::start(&self.setup()).await
    }

    /// How the tunnel is started as it is.
    pub fn setup(&self) -> Setup<'_> {
        Setup {
            peer: self.peer,
            places: self.places,
            between: Between::Nothing,
            flags: Vec::new(),
            tunnels: None,
        }
    }
}

/// A number with commas between its thousands.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn groups_digits() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
