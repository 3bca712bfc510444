//! The checks by their numbers in docs/reliability.md.

mod crowd;
mod deaths;
mod flap;
mod frozen;
mod half_open;
mod herd;
mod hostile;
mod kills;
mod logs;
pub mod loss;
mod many;
mod soak;
mod speed;
mod stop;
mod takeover;

use crate::check::Check;

/// A check as its row has it.
macro_rules! check {
    ($id:literal, $what:literal, $run:path) => {
        Check::new($id, $what, |tier| Box::pin($run(tier)))
    };
}

/// All of them, in order.
pub fn all() -> Vec<Check> {
    vec![
        check!("1", "kill -9 of the relay", kills::relay).fast(),
        check!("2", "kill -9 of the client", kills::client).fast(),
        check!("3", "SIGTERM of a relay at work", stop::check)
            .fast()
            .waits(),
        check!("5", "half-open tunnel", half_open::check)
            .fast()
            .waits(),
        check!("6", "frozen client", frozen::client).fast().waits(),
        check!("7", "frozen local server", frozen::origin).fast(),
        check!("8", "a local server that dies", deaths::check).fast(),
        check!("9", "packets lost", loss::check).fast(),
        check!("10", "a long and narrow way", flap::narrow)
            .fast()
            .waits(),
        check!("11", "a link that flaps", flap::check)
            .fast()
            .waits(),
        check!("12", "thundering herd", herd::check).fast(),
        check!("13", "takeover race", takeover::race).fast().waits(),
        check!("14", "a stranger wants a name", takeover::stranger)
            .fast()
            .waits(),
        check!("15", "full disk, closed output", logs::check)
            .fast()
            .waits(),
        check!("16", "1,000 requests a second", speed::constant),
        check!("17", "saturation", speed::saturation),
        check!("18", "large bodies", speed::bulk),
        check!("19", "1,000 requests at a time", speed::at_once),
        check!("20", "200 tunnels", many::tunnels),
        check!("21", "500 upgraded connections", many::upgrades),
        check!("22", "fairness", many::fairness),
        check!("23", "a slow reader", speed::slow_reader),
        check!("24", "soak", soak::check).waits(),
        check!("25", "three times saturation", many::overload),
        check!("31", "slow and silent visitors", crowd::check).fast(),
        check!("32", "hostile client and relay", hostile::check)
            .fast()
            .waits(),
    ]
}
