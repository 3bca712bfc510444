//! Who may register, and who takes over from whom.

use ggrok_client::{ConnectError, RunError, Token};
use ggrok_server::Access;

use crate::support::{Client, Origin, Relay, Seen, config, eventually, get, raw};

fn named(name: &'static str) -> impl Fn(&Seen) -> Vec<u8> {
    move |_| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
            name.len()
        )
        .into_bytes()
    }
}

#[tokio::test]
async fn lets_in_clients_with_the_token_alone() {
    let relay = Relay::with(|config| config.access = Access::token("s3cret")).await;
    let origin = Origin::start(named("app")).await;
    for wrong in [None, Some("wrong"), Some("s3cre"), Some("s3cret2")] {
        let mut settings = config(&relay, &origin);
        settings.token = wrong.and_then(Token::new);
        let ended = Client::launch(settings).ended().await;
        assert!(
            matches!(ended, Err(RunError::Connect(ConnectError::Refused(_)))),
            "{ended:?}"
        );
        assert_eq!(relay.tunnels_as("s3cret").await, 0);
    }
    let mut settings = config(&relay, &origin);
    settings.token = Token::new(" s3cret\n");
    let _client = Client::ready(settings).await;
    assert_eq!(get(relay.address, "/").await.text(), "app");
}

#[tokio::test]
async fn refuses_before_the_upgrade_and_names_no_secret() {
    let relay = Relay::with(|config| config.access = Access::token("s3cret")).await;
    let host = relay.address;
    let handshake = |field: &str| {
        format!(
            "GET /$$ggrok HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{field}\r\n"
        )
    };
    for (field, error) in [
        ("", "no-token"),
        ("Authorization: Bearer guess\r\n", "wrong-token"),
    ] {
        let close = format!("{field}X-Close: 1\r\n");
        let request =
            handshake(&close).replace("Connection: Upgrade", "Connection: Upgrade, close");
        let answer = raw(host, request).await;
        assert_eq!((answer.status(), answer.error()), (401, Some(error)));
        assert_eq!(answer.field("www-authenticate"), ["Bearer"]);
        assert!(!answer.text().contains("guess") && !answer.text().contains("s3cret"));
    }
}

#[tokio::test]
async fn gives_the_host_to_the_newest_client_and_tells_the_older_one() {
    let relay = Relay::start().await;
    let (first, second) = (
        Origin::start(named("first")).await,
        Origin::start(named("second")).await,
    );
    let mut older = Client::start(&relay, &first).await;
    assert_eq!(get(relay.address, "/").await.text(), "first");
    let _newer = Client::start(&relay, &second).await;
    assert_eq!(get(relay.address, "/").await.text(), "second");
    assert!(matches!(older.ended().await, Err(RunError::Replaced)));
    // The end of the older one does not take the newer one's place away.
    assert_eq!(get(relay.address, "/").await.text(), "second");
    assert_eq!(relay.tunnels().await, 1);
}

#[tokio::test]
async fn takes_as_many_tunnels_as_it_may() {
    let relay = Relay::with(|config| config.tunnels = 1).await;
    let origin = Origin::start(named("app")).await;
    let client = Client::start(&relay, &origin).await;
    let mut other = config(&relay, &origin);
    let port = relay.address.port();
    other.relay = format!("localhost:{port}").parse().unwrap();
    let mut turned_away = Client::launch(other);
    let ggrok_client::Event::Waiting { reason, .. } = turned_away.event().await else {
        panic!("it was let in");
    };
    assert!(reason.contains("as many clients as it takes"), "{reason}");
    client.stop().await.unwrap();
    // It tries again by itself, and finds room.
    turned_away.await_ready().await;
    eventually("the first place is free", async || {
        (relay.tunnels().await == 1).then_some(())
    })
    .await;
}
