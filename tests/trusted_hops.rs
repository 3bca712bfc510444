//! Warnings of a number of trusted hops that does not fit the requests that arrive.

use crate::support::{RelayProgram, raw};

/// The warnings of hops that a relay logs while it answers requests with these fields.
async fn warnings(hops: &str, requests: &[&str]) -> Vec<String> {
    let mut relay = RelayProgram::start(|command| {
        command.args(["--open", "--trusted-hops", hops]);
    })
    .await;
    for fields in requests {
        let request =
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}Connection: close\r\n\r\n");
        raw(relay.address, request).await;
    }
    relay.program.signal("TERM").await;
    let said = relay.program.rest().await;
    let warned = said.lines().filter(|line| line.contains("--trusted-hops"));
    warned.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_relay_warns_once_of_forwarding_fields_without_trusted_hops() {
    for field in [
        "X-Forwarded-For: 192.0.2.1\r\n",
        "Forwarded: for=192.0.2.1\r\n",
    ] {
        let warned = warnings("0", &["", field, field]).await;
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].contains("ignoring them is right"), "{warned:?}");
        assert!(warned[0].contains("\"level\":\"WARN\""), "{warned:?}");
    }
    assert!(warnings("0", &["", ""]).await.is_empty());
}

#[tokio::test]
async fn a_relay_warns_once_of_requests_that_passed_fewer_hops() {
    let (one, two) = (
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n",
    );
    for (hops, requests, warned) in [
        ("1", &[one, two][..], 0),
        ("1", &[one, "", ""], 1),
        ("2", &[two], 0),
        ("2", &[two, one, one], 1),
    ] {
        assert_eq!(
            warnings(hops, requests).await.len(),
            warned,
            "{hops} {requests:?}"
        );
    }
}
