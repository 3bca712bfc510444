//! All scenarios, in the order of the report.

mod bulk;
mod fresh;
mod growth;
mod idle;
mod neighbours;
mod requests;
mod tls;
mod wan;
mod workers;

use crate::scenario::Scenario;

/// All of them.
pub const ALL: &[Scenario] = &[
    requests::SMALL,
    requests::SEQ,
    fresh::SCENARIO,
    bulk::DOWNLOAD,
    bulk::UPLOAD,
    neighbours::SCENARIO,
    wan::SCENARIO,
    idle::VISITORS,
    idle::TUNNELS,
    growth::TUNNELS,
    growth::VISITORS,
    workers::SCENARIO,
    tls::SCENARIO,
];
