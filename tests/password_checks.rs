//! Guesses at the password of one tunnel hold up no visitor of another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ggrok_client::{Claim, Login, Logins, Rules};
use tokio::task::JoinSet;

use crate::support::{Answer, Client, Origin, Relay, Seen, config, eventually, raw};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

fn rules() -> Rules {
    let login: Login = "ana:s3cret".parse().unwrap();
    Rules {
        logins: Some(Logins::new(&[login]).unwrap()),
        ..Rules::default()
    }
}

const RIGHT: &str = "Basic YW5hOnMzY3JldA==";
const WRONG: &str = "Basic YW5hOmd1ZXNz";

/// Gives a login at a host, from an address that the router before the relay has seen.
async fn log_in(relay: SocketAddr, host: &str, from: &str, login: &str) -> Answer {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Forwarded-For: {from}\r\nAuthorization: {login}\r\n\r\n"
    );
    raw(relay, request).await
}

#[tokio::test]
async fn a_first_login_does_not_wait_for_guesses_at_another_tunnel() {
    let relay = Relay::with(|config| config.trusted_hops = 1).await;
    let origin = Origin::start(ok).await;
    let mut clients = Vec::new();
    for host in ["a.example", "b.example"] {
        let mut settings = config(&relay, &origin);
        settings.claim = Claim::OtherHost(host.parse().unwrap());
        settings.rules = rules();
        clients.push(Client::ready(settings).await);
    }
    let at = relay.address;
    let guessed = Arc::new(AtomicUsize::new(0));
    let mut guessers = JoinSet::new();
    for number in 0..220 {
        let guessed = Arc::clone(&guessed);
        guessers.spawn(async move {
            let from = format!("198.51.{}.{}", 100 + number / 200, number % 200);
            let answer = log_in(at, "a.example", &from, WRONG).await;
            assert!([401, 429].contains(&answer.status()));
            guessed.fetch_add(1, Ordering::Relaxed);
        });
    }
    let count = || guessed.load(Ordering::Relaxed);
    eventually("guesses are checked", async || (count() > 0).then_some(())).await;
    let before = count();
    let answer = log_in(at, "b.example", "192.0.2.1", RIGHT).await;
    // Two checks, and those that end while the request and its answer are on their way.
    let between = count() - before;
    assert_eq!(answer.status(), 200);
    assert!(between <= 5, "{between} guesses were checked before it");
    // Others wait still, and not without an end.
    assert!(count() < 220);
    while let Some(guesser) = guessers.join_next().await {
        guesser.unwrap();
    }
    // A login that is known is not checked, however many guess.
    let answer = log_in(at, "b.example", "192.0.2.2", RIGHT).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn guesses_from_addresses_of_one_network_of_ipv6_are_those_of_one_visitor() {
    let relay = Relay::with(|config| config.trusted_hops = 1).await;
    let origin = Origin::start(ok).await;
    let mut settings = config(&relay, &origin);
    settings.rules = rules();
    let _client = Client::ready(settings).await;
    let host = relay.address.to_string();
    let mut statuses = Vec::new();
    for number in 0..12 {
        let from = format!("2001:db8:1:2::{number:x}");
        let answer = log_in(relay.address, &host, &from, WRONG).await;
        statuses.push(answer.status());
    }
    assert_eq!(statuses, [vec![401; 10], vec![429; 2]].concat());
    let from = "2001:db8:1:3::1";
    let answer = log_in(relay.address, &host, from, RIGHT).await;
    assert_eq!(answer.status(), 200);
}
