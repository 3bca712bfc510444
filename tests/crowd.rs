//! A thousand mirrors under one relay, in three dialects at the same time.

use std::collections::BTreeSet;
use std::env;

use futures_util::{StreamExt, stream};
use ggrok_protocol::Dialect;
use tokio::task::JoinSet;

use crate::support::{
    Answer, RelayProgram, ask, dial, eventually, handshake, in_v2, names, play, raw, say,
};

const MIRRORS: usize = 1000;
const TOKEN: &str = "s3cret";

/// Open files at either end: the mirrors, whoever calls them, and scenarios that run besides.
const OPEN_FILES: usize = MIRRORS + 500;

/// KiB of memory that a mirror may take: three times of what it does.
const MOST_MEMORY: usize = 64;

/// One of the crowd. The dialects take turns.
#[derive(Clone)]
struct Member {
    name: String,
    dialect: Dialect,
}

impl Member {
    fn of(number: usize) -> Self {
        let dialects = [Dialect::Ggrok, Dialect::MagicMirror, Dialect::V2];
        Self {
            name: format!("m{number}"),
            dialect: dialects[number % dialects.len()],
        }
    }

    /// Whether it serves a host. All others are mirrors.
    fn has_host(&self) -> bool {
        self.dialect == Dialect::Ggrok
    }

    /// Registers, and says its name to whoever calls, until the task is aborted.
    async fn join(&self, relay: &RelayProgram, crowd: &mut JoinSet<()>) {
        let name = self.name.clone();
        let target = if self.has_host() {
            format!("/$$ggrok?host={name}.example")
        } else {
            format!("/_ggrok/mirror?name={name}")
        };
        let mut handshake = handshake(relay.address, &target, TOKEN);
        if self.dialect == Dialect::V2 {
            handshake = in_v2(handshake);
        }
        let (socket, _) = dial(handshake).await;
        let dialect = self.dialect;
        crowd.spawn(async move {
            let ended = play(socket, dialect, |call| say(call, name.clone())).await;
            panic!("{name} lost its tunnel: {ended:?}");
        });
    }

    async fn call(&self, relay: &RelayProgram) -> Answer {
        let name = &self.name;
        if self.has_host() {
            let request =
                format!("GET / HTTP/1.1\r\nHost: {name}.example\r\nConnection: close\r\n\r\n");
            return raw(relay.address, request).await;
        }
        ask(
            relay.address,
            &format!("GET /_ggrok/mirrors/{name}/"),
            TOKEN,
        )
        .await
    }
}

/// Whether so many files may be open. Where they may not, the test says so; in CI they have to.
fn has_room() -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let limit = line
        .and_then(|line| line.split_whitespace().nth(3))
        .unwrap();
    let fits = limit
        .parse()
        .map_or(limit == "unlimited", |limit: usize| limit >= OPEN_FILES);
    let says = format!("`ulimit -n` is {limit}: {MIRRORS} mirrors need {OPEN_FILES} open files");
    assert!(fits || env::var_os("CI").is_none(), "{says}");
    if !fits {
        eprintln!("skipped: {says}");
    }
    fits
}

async fn tunnels(relay: &RelayProgram) -> u64 {
    let health = ask(relay.address, "GET /_ggrok/health", TOKEN).await;
    let health: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
    health["tunnels"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mirrors_in_three_dialects_answer_for_themselves() {
    if !has_room() {
        return;
    }
    let mut relay = RelayProgram::start(|command| {
        command.args(["--token", TOKEN]);
    })
    .await;
    // A log that nobody reads would be held in memory.
    relay.program.close_output();
    assert_eq!(tunnels(&relay).await, 0);
    let fresh = relay.program.memory();

    let members: Vec<Member> = (0..MIRRORS).map(Member::of).collect();
    let mut crowd = JoinSet::new();
    for member in &members {
        member.join(&relay, &mut crowd).await;
    }
    assert_eq!(tunnels(&relay).await, MIRRORS as u64);
    let idle = relay.program.memory() - fresh;

    let calls = members.iter().map(|member| async {
        let answer = member.call(&relay).await;
        let said = answer.whole().unwrap_or_default();
        assert_eq!(String::from_utf8(said).unwrap(), member.name);
    });
    stream::iter(calls)
        .buffer_unordered(100)
        .for_each(async |()| {})
        .await;
    let called = relay.program.memory() - fresh;

    let listed: BTreeSet<String> = names(relay.address, TOKEN).await.into_iter().collect();
    let expected = members.iter().filter(|member| !member.has_host());
    assert_eq!(listed, expected.map(|member| member.name.clone()).collect());

    let each = |memory: usize| memory as f64 / MIRRORS as f64;
    println!(
        "KiB for each mirror: {:.1} idle, {:.1} once called",
        each(idle),
        each(called)
    );
    assert!(
        called < MIRRORS * MOST_MEMORY,
        "{called} KiB for {MIRRORS} mirrors"
    );

    crowd.shutdown().await;
    eventually("all have left", async || {
        (tunnels(&relay).await == 0).then_some(())
    })
    .await;
}
