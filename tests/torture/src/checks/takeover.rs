//! Who has a name: one client at a time, and never a stranger.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ggrok_client::{Claim, Config, Event, RunError, Token, run};
use http::StatusCode;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;

use crate::PATIENCE;
use crate::check::{Findings, Tier};
use crate::ledger::{Ending, Ledger};
use crate::load::Load;
use crate::origin::Origin;
use crate::program::Program;
use crate::scene::{ClientProgram, HOST, RelayProgram, Scene, TOKEN};
use crate::visitor::{Ask, Door};

/// A client in this process.
struct Rival {
    ready: mpsc::Receiver<()>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Rival {
    fn start(relay: &RelayProgram, local: &Origin) -> Self {
        let (sender, ready) = mpsc::channel(10);
        let relay = format!("ws://{}", relay.address).parse().unwrap();
        let mut config = Config::new(relay, local.address.to_string().parse().unwrap());
        config.claim = Claim::OtherHost(HOST.parse().unwrap());
        config.token = Token::new(TOKEN);
        let observer = move |event| {
            if matches!(event, Event::Ready { .. }) {
                sender.try_send(()).ok();
            }
        };
        let task = tokio::spawn(run(config, observer, std::future::pending()));
        Self { ready, task }
    }

    async fn await_ready(&mut self) {
        let ready = timeout(PATIENCE, self.ready.recv()).await;
        ready.expect("a rival is not let in").unwrap();
    }
}

/// Two clients with one token take a name from each other. There is one owner at any time, and who lost
/// is told so and stays away.
pub async fn race(tier: Tier) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let relay = RelayProgram::start(&directory, &[]).await;
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let door = Door {
        address: relay.address,
        host: HOST.to_owned(),
    };
    let mut owner = Rival::start(&relay, &origin);
    owner.await_ready().await;
    let rounds = tier.of(40, 1000);
    let (mut told, mut owned) = (0, 0);
    for _ in 0..rounds {
        let mut next = Rival::start(&relay, &origin);
        next.await_ready().await;
        let lost = timeout(PATIENCE, &mut owner.task).await;
        let lost = lost
            .expect("who lost stays")
            .expect("a client does not panic");
        told += usize::from(matches!(lost, Err(RunError::Replaced)));
        owned += usize::from(relay.tunnels().await == Some(1));
        let ending = door.ask(&ledger, Ask::get(10)).await;
        assert_eq!(ending, Ending::Whole);
        owner = next;
    }
    owner.task.abort();
    Findings::new(tier)
        .count("losers told why, who stayed away", told, rounds)
        .count("times with one owner", owned, rounds)
        .count("violations", ledger.violations().len(), 0)
}

/// Makes a file with the token of a stranger who may have any host, and returns that token.
async fn strangers_token(file: &Path) -> String {
    let mut command = Program::command("ggrok-server");
    command.args(["token", "new", "--owner", "bob", "--host", "*"]);
    let made = command.output().await.unwrap();
    fs::write(file, made.stdout).unwrap();
    let told = String::from_utf8(made.stderr).unwrap();
    let token = told
        .split_whitespace()
        .find(|word| word.starts_with("ggrok_"));
    token.expect("the token is shown").to_owned()
}

/// Whoever has another token never gets a name that is held, or that was just dropped.
pub async fn stranger(tier: Tier) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let token = strangers_token(&file).await;
    let relay = RelayProgram::start(&directory, &["--tokens-file", &file.to_string_lossy()]).await;
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let address = relay.address;
    let client = ClientProgram::start(&directory, address, HOST, origin.address, "ggrok.v2").await;
    let door = Door {
        address,
        host: HOST.to_owned(),
    };
    let mut scene = Scene {
        directory,
        ledger,
        origin,
        relay,
        client,
        door,
    };
    let load = Load::start(&scene.door, &scene.ledger, 20);
    let tries = tier.of(50, 500);
    let mut refused = 0;
    for _ in 0..tries {
        refused += usize::from(is_refused(&scene.relay, &token).await);
    }
    load.finish().await;
    let lost = scene.ledger.len() - scene.ledger.count(|ending| *ending == Ending::Whole);
    scene.client.program.signal("KILL").await;
    scene.client.program.ended().await;
    scene.relay.await_tunnels(0).await;
    for _ in 0..tries {
        refused += usize::from(is_refused(&scene.relay, &token).await);
    }
    scene.client.again().await;
    sleep(Duration::from_millis(100)).await;
    let back = scene.door.ask(&scene.ledger, Ask::get(10)).await == Ending::Whole;
    Findings::new(tier)
        .count("tries refused with 409", refused, 2 * tries)
        .count("answers of the owner lost", lost, 0)
        .count("violations", scene.violations(), 0)
        .hold("the owner gets its name back", back)
}

async fn is_refused(relay: &RelayProgram, token: &str) -> bool {
    let url = format!("ws://{}/$$ggrok?host={HOST}", relay.address);
    let request = ClientRequestBuilder::new(url.parse().unwrap())
        .with_header("authorization", format!("Bearer {token}"));
    match tokio_tungstenite::connect_async(request).await {
        Err(Error::Http(answer)) => answer.status() == StatusCode::CONFLICT,
        _ => false,
    }
}
