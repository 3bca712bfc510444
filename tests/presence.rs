//! Which mirrors the relay lists, what it tells of each, and until when.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Mirror, Relay, ask, close_code, dial, eventually, handshake, listed, names, owners,
};

const TOKEN: &str = "k-ana";

async fn described(relay: &Relay, name: &str) -> Value {
    let line = format!("GET /_ggrok/mirrors/{name}");
    let answer = ask(relay.address, &line, TOKEN).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.field("content-type"), ["application/json"]);
    serde_json::from_slice(&answer.body).unwrap()
}

async fn gone(relay: &Relay, name: &str) {
    eventually("it leaves the list", async || {
        let names = names(relay.address, TOKEN).await;
        (!names.iter().any(|listed| listed == name)).then_some(())
    })
    .await;
}

fn status(answer: &crate::support::Answer) -> (u16, Option<&str>) {
    (answer.status(), answer.error())
}

#[tokio::test]
async fn lists_and_describes_what_is_connected() {
    let relay = Relay::with(|config| {
        owners(config);
        config.limits.ping_every = Duration::from_millis(50);
    })
    .await;
    assert_eq!(listed(relay.address, TOKEN).await, [] as [Value; 0]);
    let _b = Mirror::saying(relay.address, "b", TOKEN, "ok").await;
    let _a = Mirror::saying(relay.address, "a", TOKEN, "ok").await;
    assert_eq!(names(relay.address, TOKEN).await, ["a", "b"]);

    let first = described(&relay, "a").await;
    let mut told = first.clone();
    let times = ["connected_since", "last_seen"].map(|time| {
        let time = told.as_object_mut().unwrap().remove(time).unwrap();
        time.as_str().unwrap().to_owned()
    });
    assert_eq!(
        told,
        json!({
            "name": "a",
            "address": "/_ggrok/mirrors/a/",
            "host": null,
            "dialect": "magic-mirror",
            "peer": "127.0.0.1",
            "calls": 0,
        })
    );
    // RFC 3339 in UTC, of one length: later is greater.
    for time in &times {
        assert_eq!((time.len(), &time[10..11], &time[23..]), (24, "T", "Z"));
    }
    assert!(times[0] <= times[1], "{times:?}");

    for _ in 0..3 {
        ask(relay.address, "GET /_ggrok/mirrors/a/", TOKEN).await;
    }
    assert_eq!(described(&relay, "a").await["calls"], 3);
    assert_eq!(described(&relay, "b").await["calls"], 0);
    // It answers pings, and does nothing else.
    let seen = |mirror: &Value| mirror["last_seen"].as_str().unwrap().to_owned();
    let before = seen(&described(&relay, "b").await);
    eventually("it is seen again", async || {
        (seen(&described(&relay, "b").await) > before).then_some(())
    })
    .await;
    let later = described(&relay, "a").await;
    assert_eq!(later["connected_since"], first["connected_since"]);
    assert_eq!(listed(relay.address, TOKEN).await.len(), 2);
}

#[tokio::test]
async fn closes_a_mirror_and_forgets_one_that_is_offline() {
    let relay = Relay::with(owners).await;
    let _other = Mirror::saying(relay.address, "other", TOKEN, "ok").await;
    let mut mirror = Mirror::saying(relay.address, "app", TOKEN, "ok").await;
    let delete = "DELETE /_ggrok/mirrors/app";
    let answer = ask(relay.address, delete, TOKEN).await;
    assert_eq!((answer.status(), answer.body.len()), (204, 0));
    assert_eq!(mirror.closed().await, Some(4410));
    gone(&relay, "app").await;
    let call = "GET /_ggrok/mirrors/app/";
    let answer = ask(relay.address, call, TOKEN).await;
    assert_eq!(status(&answer), (503, Some("mirror-offline")));

    assert_eq!(ask(relay.address, delete, TOKEN).await.status(), 204);
    for line in [delete, call] {
        let answer = ask(relay.address, line, TOKEN).await;
        assert_eq!(status(&answer), (404, Some("unknown-mirror")), "{line}");
    }
    assert_eq!(names(relay.address, TOKEN).await, ["other"]);
}

#[tokio::test]
async fn a_mirror_that_was_closed_may_come_back() {
    let relay = Relay::with(owners).await;
    for _ in 0..3 {
        let mut mirror = Mirror::saying(relay.address, "app", TOKEN, "ok").await;
        ask(relay.address, "DELETE /_ggrok/mirrors/app", TOKEN).await;
        assert_eq!(mirror.closed().await, Some(4410));
    }
    let _mirror = Mirror::saying(relay.address, "app", TOKEN, "ok").await;
    let answer = ask(relay.address, "GET /_ggrok/mirrors/app/", TOKEN).await;
    assert_eq!(answer.text(), "ok");
}

#[tokio::test]
async fn a_silent_mirror_leaves_the_list_and_one_that_lives_stays() {
    let relay = Relay::with(|config| {
        owners(config);
        config.limits.ping_every = Duration::from_millis(100);
        config.limits.dead_after = Duration::from_millis(1500);
    })
    .await;
    let mut living = Mirror::saying(relay.address, "living", TOKEN, "ok").await;
    // Nobody reads its pings, so nobody answers them.
    let handshake = handshake(relay.address, "/_ggrok/mirror?name=silent", TOKEN);
    let (silent, _) = dial(handshake).await;
    assert_eq!(names(relay.address, TOKEN).await, ["living", "silent"]);
    gone(&relay, "silent").await;
    assert_eq!(names(relay.address, TOKEN).await, ["living"]);
    let answer = ask(relay.address, "GET /_ggrok/mirrors/silent/", TOKEN).await;
    assert_eq!(status(&answer), (503, Some("mirror-offline")));
    drop(silent);

    ask(relay.address, "DELETE /_ggrok/mirrors/living", TOKEN).await;
    assert_eq!(living.closed().await, Some(4410), "it was there to the end");
}

/// With the default bounds, where silence takes longer than a scenario waits.
#[tokio::test]
async fn a_mirror_whose_socket_closes_leaves_the_list_at_once() {
    let relay = Relay::with(owners).await;
    for farewell in [true, false] {
        let handshake = handshake(relay.address, "/_ggrok/mirror?name=app", TOKEN);
        let (mut socket, _) = dial(handshake).await;
        assert_eq!(names(relay.address, TOKEN).await, ["app"]);
        if farewell {
            socket.close(None).await.unwrap();
            close_code(&mut socket).await;
        } else {
            drop(socket);
        }
        gone(&relay, "app").await;
    }
}
