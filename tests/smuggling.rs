//! A hostile visitor or local server harms nobody but itself: no request is smuggled past the relay,
//! and no one gets a byte of another's.

mod answers;
mod attack;
mod corpus;
mod hostile;
mod innocent;
mod local;
mod strict;
mod unasked;

use std::net::SocketAddr;
use std::time::Duration;

use ggrok_protocol::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Client, PATIENCE, Relay, example, tenant};
use attack::{Attack, Fate};
use innocent::Innocents;
use local::{Arrived, Local, Log};
use strict::{Response, latin, responses};

/// A relay with two tenants of one dialect.
struct Ground {
    relay: Relay,
    local: Local,
    other: Local,
    _clients: [Client; 2],
}

impl Ground {
    async fn of(dialect: Dialect) -> Self {
        let relay = example(|config| {
            config.idle_timeout = STALLED;
            config.limits.stream_idle = STALLED;
            config.limits.body_idle = STALLED;
        })
        .await;
        let (local, other) = (Local::start().await, Local::start().await);
        let app = tenant(&relay, local.address, dialect, "app");
        let bystander = tenant(&relay, other.address, dialect, "other");
        Self {
            _clients: [Client::ready(app).await, Client::ready(bystander).await],
            relay,
            local,
            other,
        }
    }
}

/// When the relay gives up a visitor who says no more: long enough for a busy machine.
const STALLED: Duration = Duration::from_secs(8);

/// Attacks that are under way at a time.
const AT_ONCE: usize = 48;

#[tokio::test]
async fn visitors_smuggle_nothing_in_v2() {
    no_attack_succeeds(Dialect::V2).await;
}

#[tokio::test]
async fn visitors_smuggle_nothing_in_ggrok() {
    no_attack_succeeds(Dialect::Ggrok).await;
}

#[tokio::test]
async fn visitors_smuggle_nothing_in_magic_mirror() {
    no_attack_succeeds(Dialect::MagicMirror).await;
}

/// Makes all attacks, each alone and with a request behind it.
async fn no_attack_succeeds(dialect: Dialect) {
    let attacks = corpus::corpus();
    assert!(attacks.len() >= 150, "{}", attacks.len());
    println!("{} attacks, each in two ways", attacks.len());
    let ground = Ground::of(dialect).await;
    let innocents = Innocents::at(&ground.relay);
    let mut running = JoinSet::new();
    let mut faults = Vec::new();
    for (number, attack) in attacks.iter().enumerate() {
        for is_followed in [false, true] {
            while running.len() >= AT_ONCE {
                faults.extend(running.join_next().await.unwrap().unwrap());
            }
            let nonce = format!("{:05}", 2 * number + usize::from(is_followed));
            let trial = Trial {
                attack: attack.clone(),
                nonce,
                is_followed,
                in_v2: dialect == Dialect::V2,
            };
            let (address, log) = (ground.relay.address, ground.local.shared());
            running.spawn(async move {
                let made = trial.make(address).await;
                made.and_then(|seen| trial.judge(&seen, &log.lock().unwrap()))
                    .err()
            });
        }
    }
    while let Some(fault) = running.join_next().await {
        faults.extend(fault.unwrap());
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(innocents.end().await > 0, "nobody was there to be harmed");
    for local in [&ground.local, &ground.other] {
        let log = local.log();
        assert_eq!(log.nonsense, [""; 0]);
        let smuggled = log
            .requests
            .iter()
            .any(|request| request.target.starts_with("/SMUGGLED"));
        assert!(!smuggled);
    }
    let others = &ground.other.log().requests;
    assert!(
        others
            .iter()
            .all(|request| request.target.starts_with("/innocent/other.example/"))
    );
}

/// One attack as it is made.
struct Trial {
    attack: Attack,
    nonce: String,
    /// Whether a legal request is right behind it.
    is_followed: bool,
    in_v2: bool,
}

impl Trial {
    /// Sends the bytes, and returns what the visitor got: until the relay closes the connection, or
    /// until all answers are there that may come.
    async fn make(&self, address: SocketAddr) -> Result<Vec<u8>, String> {
        let mut sent = self.attack.bytes(&self.nonce);
        if self.is_followed {
            let nonce = &self.nonce;
            let after = format!(
                "GET /{nonce}/after HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n"
            );
            sent.extend_from_slice(after.as_bytes());
        }
        let awaited = match &self.attack.fate {
            Fate::Carried(arrivals) if !self.is_followed => arrivals.len(),
            _ => usize::MAX,
        };
        let mut seen = Vec::new();
        let talking = async {
            let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
            // The relay may close before it has read all.
            let writing = async { to.write_all(&sent).await.ok() };
            let reading = async {
                while self.answers(&seen, false) < awaited {
                    if !matches!(from.read_buf(&mut seen).await, Ok(1..)) {
                        return;
                    }
                }
            };
            tokio::join!(writing, reading);
        };
        match timeout(PATIENCE, talking).await {
            Ok(_) => Ok(seen),
            Err(_) => Err(self.told("the relay does not close", &seen)),
        }
    }

    fn answers(&self, seen: &[u8], ended: bool) -> usize {
        let read = responses(seen, self.method(), ended);
        read.map_or(0, |read| {
            read.iter().filter(|response| response.is_whole).count()
        })
    }

    fn method(&self) -> &str {
        match self.attack.bytes.starts_with("HEAD ") {
            true => "HEAD",
            false => "GET",
        }
    }

    /// Holds what the visitor and the local server saw against what should be.
    fn judge(&self, seen: &[u8], log: &Log) -> Result<(), String> {
        let arrived = log.of(&self.nonce);
        let answers = responses(seen, self.method(), true);
        let judged = answers.and_then(|answers| {
            self.judge_arrived(&answers, &arrived)?;
            self.judge_answers(&answers, &arrived)
        });
        judged.map_err(|what| self.told(&format!("{what}; {arrived:?} arrived"), seen))
    }

    /// A fault, for whoever reads of it.
    fn told(&self, what: &str, seen: &[u8]) -> String {
        let (attack, seen) = (self.attack.shown(), latin(&seen[..seen.len().min(400)]));
        let (follower, seen) = (self.is_followed, seen.escape_debug());
        format!("{what}\n  followed: {follower}\n  sent: {attack}\n  seen: {seen}")
    }

    /// Nothing arrives but what was sent, each request whole, in order.
    fn judge_arrived(&self, answers: &[Response], arrived: &[Arrived]) -> Result<(), String> {
        let mut expected = match &self.attack.fate {
            Fate::Carried(arrivals) => arrivals.clone(),
            Fate::Refused(_) | Fate::Cut => Vec::new(),
        };
        let nonce = &self.nonce;
        // The originals' dialects do not carry everything.
        let uncarried = |answer: &&Response| !self.in_v2 && answer.error().is_some();
        if answers.iter().any(|answer| uncarried(&answer)) {
            let targets = |behind: &str| format!("/{nonce}{behind}");
            expected.retain(|(_, behind, _)| {
                arrived.iter().any(|arrival| arrival.1 == targets(behind))
            });
        }
        let expected = expected.into_iter().map(|(method, behind, body)| {
            (
                method.to_owned(),
                format!("/{nonce}{behind}"),
                body.replace(attack::NONCE, nonce),
            )
        });
        let mut expected: Vec<Arrived> = expected.collect();
        if arrived != expected && self.is_followed {
            expected.push(("GET".to_owned(), format!("/{nonce}/after"), String::new()));
        }
        match arrived == expected {
            true => Ok(()),
            false => Err("something else arrived".to_owned()),
        }
    }

    /// The visitor gets the local server's answer to each request that arrived, in order, the
    /// relay's answer to one that did not, and nothing else.
    fn judge_answers(&self, answers: &[Response], arrived: &[Arrived]) -> Result<(), String> {
        let (of_relay, of_app): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status != 200);
        let bodies: Vec<String> = of_app.iter().map(|answer| latin(&answer.body)).collect();
        let said = |(method, target, _): &Arrived| match method == "HEAD" {
            true => String::new(),
            false => target.clone(),
        };
        let targets: Vec<String> = arrived.iter().map(said).collect();
        if bodies != targets || answers.iter().any(|answer| !answer.is_whole) {
            return Err("wrong answers".to_owned());
        }
        match (&self.attack.fate, &of_relay[..]) {
            (Fate::Refused(status), [refusal]) if refusal.status == *status => Ok(()),
            (Fate::Refused(status), _) => Err(format!("not refused with {status}")),
            (Fate::Cut, [] | [_]) | (Fate::Carried(_), []) => Ok(()),
            (Fate::Carried(_), [refusal]) if !self.in_v2 || refusal.status == 400 => Ok(()),
            _ => Err("answers of the relay's".to_owned()),
        }
    }
}
