//! How a mirror is let in, and refused before the upgrade with a text that its client prints.

use crate::support::{
    Mirror, Relay, answered, ask, eventually, handshake, names, owners, raw, refused,
};

const MIRROR: &str = "/_ggrok/mirror?name=app";

#[tokio::test]
async fn refuses_registrations_without_a_valid_name() {
    let relay = Relay::with(owners).await;
    let long = format!("name={}", "n".repeat(64));
    for query in [
        "",
        "name",
        "name=",
        "name=App",
        "name=a/b",
        "name=a%20b",
        "name=..",
        "name=%00",
        "Name=app",
        "name=app&public=perhaps",
        &long,
    ] {
        let target = format!("/_ggrok/mirror?{query}");
        let (status, error, text) = refused(handshake(relay.address, &target, "k-ana")).await;
        assert_eq!((status, error.as_str()), (400, "bad-name"), "{query}");
        assert!(text.contains("?name=NAME"), "{text}");
    }
    let none = handshake(relay.address, "/_ggrok/mirror", "k-ana");
    assert_eq!(refused(none).await.0, 400);
    for name in ["a", "my-app_2.x", &"n".repeat(63)] {
        let mirror = Mirror::saying(relay.address, name, "k-ana", "ok").await;
        assert_eq!(mirror.address, format!("/_ggrok/mirrors/{name}/"));
    }
}

#[tokio::test]
async fn refuses_registrations_without_a_valid_token() {
    let relay = Relay::with(owners).await;
    let (status, error, text) = refused(handshake(relay.address, MIRROR, "guess")).await;
    assert_eq!((status, error.as_str()), (401, "wrong-token"));
    assert!(!text.contains("guess"), "{text}");
    let mut bare = handshake(relay.address, "/_ggrok/mirror?name=App", "");
    bare.headers_mut().remove("authorization");
    let (status, error, text) = refused(bare).await;
    // Whoever is not known is told nothing else.
    assert_eq!((status, error.as_str()), (401, "no-token"));
    assert!(text.contains("--apikey"), "{text}");
    assert_eq!(relay.tunnels().await, 0);
}

#[tokio::test]
async fn refuses_pages_and_whatever_is_no_websocket() {
    let relay = Relay::with(owners).await;
    let mut page = handshake(relay.address, MIRROR, "k-ana");
    let origin = "https://evil.example".parse().unwrap();
    page.headers_mut().insert("origin", origin);
    let (status, error, text) = refused(page).await;
    assert_eq!((status, error.as_str()), (403, "from-a-page"));
    assert!(text.contains("browser"), "{text}");
    for method in ["GET", "POST", "DELETE"] {
        let line = format!("{method} {MIRROR}");
        let answer = ask(relay.address, &line, "k-ana").await;
        assert_eq!(
            (answer.status(), answer.error()),
            (426, Some("not-a-websocket"))
        );
        assert!(answer.text().contains("WebSocket"), "{}", answer.text());
    }
    assert_eq!(relay.tunnels().await, 0);
}

#[tokio::test]
async fn a_mirror_can_be_called_as_soon_as_its_handshake_is_answered() {
    let relay = Relay::with(owners).await;
    for round in 0..20 {
        let name = format!("m{round}");
        let mirror = Mirror::saying(relay.address, &name, "k-ana", "ok").await;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nX-Ggrok-Token: k-ana\r\nConnection: close\r\n\r\n",
            mirror.address, relay.address
        );
        assert_eq!(raw(relay.address, request).await.text(), "ok");
    }
}

#[tokio::test]
async fn takes_as_many_mirrors_as_it_may() {
    let relay = Relay::with(|config| {
        owners(config);
        config.tunnels = 2;
    })
    .await;
    let _a = Mirror::saying(relay.address, "a", "k-ana", "ok").await;
    let b = Mirror::saying(relay.address, "b", "k-ben", "ok").await;
    let third = || handshake(relay.address, MIRROR, "k-ana");
    let (status, error, _) = refused(third()).await;
    assert_eq!((status, error.as_str()), (503, "too-many-tunnels"));
    // Whoever has a place already may take it over.
    let _again = Mirror::saying(relay.address, "a", "k-ana", "ok").await;
    drop(b);
    eventually("its place is free", async || {
        names(relay.address, "k-ben").await.is_empty().then_some(())
    })
    .await;
    let _third = Mirror::dialled(third(), |_| answered(200, "")).await;
}
