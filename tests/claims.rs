//! What our client asks our relay to serve: a name, a host, and what comes of it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Answer, Origin, Program, RelayProgram, Seen, ask, eventually, output, raw};

#[tokio::test]
async fn a_name_is_served_by_its_host_and_by_the_api() {
    let setup = Setup::start(&["--domain", "tunnel.test"]).await;
    let (_client, url) = setup.client("k-ana", &["--name", "blog"]).await;
    let port = setup.relay.address.port();
    assert_eq!(url, format!("http://blog.tunnel.test:{port}"));
    let visitor = setup.visit("Host: Blog.Tunnel.Test", "/a?b").await;
    assert_eq!(visitor.text(), "the app");
    let seen = setup.origin.last();
    assert_eq!(
        (seen.target(), &*seen.field("host")),
        ("/a?b", &["Blog.Tunnel.Test"][..])
    );

    let owner = setup.api("k-ana", "/mirrors/blog/a?b").await;
    assert_eq!(owner.text(), "the app");
    let seen = setup.origin.last();
    // The local server's own, which none of its checks refuses.
    assert_eq!(seen.field("host"), [setup.origin.address.to_string()]);
    assert_eq!(seen.field("x-ggrok-token"), [""; 0]);
    let listed = setup.api("k-ana", "/mirrors").await;
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    assert_eq!(listed[0]["host"], "blog.tunnel.test");
    assert_eq!(
        (&listed[0]["dialect"], &listed[0]["calls"]),
        (&"ggrok.v2".into(), &2.into())
    );
}

#[tokio::test]
async fn a_name_that_no_visitor_can_open_says_so() {
    let setup = Setup::start(&[]).await;
    for (args, has_rules) in [(&[][..], false), (&["--allow-path", "/a"], true)] {
        let args = [&["--name", "blog"], args].concat();
        let (mut client, url) = setup.client("k-ana", &args).await;
        let path = "/_ggrok/mirrors/blog/";
        assert_eq!(url, format!("http://{}{path}", setup.relay.address));
        let told: Value = serde_json::from_str(&client.line_with("event").await).unwrap();
        let expected = serde_json::json!({ "event": "not_public", "has_rules": has_rules });
        assert_eq!(told, expected);
        // What it says is so: no rule stands before its owner's programs.
        let owner = setup.api("k-ana", "/mirrors/blog/b").await;
        assert_eq!(owner.text(), "the app");
        assert_eq!(setup.visit("Host: x", path).await.status(), 401);
    }

    let setup = Setup::start(&["--domain", "tunnel.test"]).await;
    let (mut client, _) = setup.client("k-ana", &["--name", "blog"]).await;
    setup.visit("Host: blog.tunnel.test", "/").await;
    let next = client.line_with("event").await;
    assert!(next.contains("\"request\""), "{next}");
}

#[tokio::test]
async fn a_mirror_by_magic_mirrors_flags_is_not_public() {
    let setup = Setup::start(&["--domain", "tunnel.test"]).await;
    let remote = format!("ws://{}/_ggrok/mirror", setup.relay.address);
    let local = format!("http://{}", setup.origin.address);
    let mut command = Program::command("ggrok-client");
    command
        .args(["-remote", &remote, "-name", "secret", "-local", &local])
        .args(["-apikey", "k-ana", "--json"])
        .env("SAFE", "true");
    let mut client = Program::start(&mut command);
    let ready = client.line_with("ready").await;
    let path = "/_ggrok/mirrors/secret/";
    assert!(
        ready.contains(&format!("http://{}{path}", setup.relay.address)),
        "{ready}"
    );
    assert_eq!(
        setup.api("k-ana", "/mirrors/secret/").await.text(),
        "the app"
    );
    let visitor = setup.visit("Host: secret.tunnel.test", "/").await;
    assert_eq!(
        (visitor.status(), visitor.error()),
        (404, Some("unknown-host"))
    );
    let other = setup.api("k-ben", "/mirrors/secret/").await;
    assert_eq!(
        (other.status(), other.error()),
        (404, Some("unknown-mirror"))
    );
}

#[tokio::test]
async fn another_host_is_served_where_the_owner_may() {
    let setup = Setup::start(&[]).await;
    let (_client, url) = setup.client("k-ana", &["--host", "app.ana.test"]).await;
    let port = setup.relay.address.port();
    assert_eq!(url, format!("http://app.ana.test:{port}"));
    assert_eq!(
        setup.visit("Host: app.ana.test", "/").await.text(),
        "the app"
    );

    let (code, error) = setup.refused("k-ben", &["--host", "app.ana.test"]).await;
    assert_eq!(code, Some(4));
    assert!(error.contains("does not allow this host"), "{error}");
}

#[tokio::test]
async fn clients_end_where_another_owner_was_first_and_where_the_owner_ends_them() {
    let setup = Setup::start(&["--domain", "tunnel.test"]).await;
    let (mut client, _) = setup.client("k-ana", &["--name", "blog"]).await;
    let (code, error) = setup.refused("k-ben", &["--name", "blog"]).await;
    assert_eq!(code, Some(4));
    assert!(error.contains("belongs to another owner"), "{error}");

    let request = "DELETE /_ggrok/mirrors/blog";
    let answer = ask(setup.relay.address, request, "k-ana").await;
    assert_eq!(answer.status(), 204);
    assert_eq!(client.ended().await.code(), Some(6));
}

#[tokio::test]
async fn reserved_names_are_for_those_who_are_given_them() {
    let setup = Setup::start(&["--domain", "tunnel.test"]).await;
    for name in ["www", "api", "admin", "_acme", "xn--80ak6aa92e", "www.blog"] {
        let (code, error) = setup.refused("k-ana", &["--name", name]).await;
        assert_eq!(code, Some(4), "{name}");
        assert!(error.contains("This name is reserved"), "{name}: {error}");
    }
    let (_client, _) = setup.client("k-ana", &["--name", "www2"]).await;
    let (_client, _) = setup.client("k-ana", &["--host", "www.ana.test"]).await;
    let (_client, _) = setup.client("k-cleo", &["--name", "mail"]).await;
    let visitor = setup.visit("Host: mail.tunnel.test", "/").await;
    assert_eq!(visitor.text(), "the app");
}

#[tokio::test]
async fn what_is_granted_in_full_is_kept_for_its_owner() {
    let setup = Setup::start(&["--domain", "tunnel.test"]).await;
    // Cleo, who has `mail`, was never here.
    for name in ["x.mail", "a.b.mail"] {
        let (code, error) = setup.refused("k-ben", &["--name", name]).await;
        assert_eq!(code, Some(4), "{name}");
        assert!(error.contains("belongs to another owner"), "{error}");
    }
    let (_post, _) = setup.client("k-ben", &["--name", "post"]).await;
    let (code, _) = setup.refused("k-ana", &["--host", "shop.ana.test"]).await;
    assert_eq!(code, Some(4), "it is cleo's in full");
    let (code, _) = setup.refused("k-ana", &["--host", "x.shop.ana.test"]).await;
    assert_eq!(code, Some(4), "it is below cleo's");
    let (_blog, _) = setup.client("k-ana", &["--host", "blog.ana.test"]).await;
    // Two hosts that are granted in full may be one below the other.
    let (_cart, _) = setup.client("k-cleo", &["--host", "x.blog.ana.test"]).await;
    let visitor = setup.visit("Host: x.blog.ana.test", "/").await;
    assert_eq!(visitor.text(), "the app");
}

#[tokio::test]
async fn the_relays_own_host_is_a_setting() {
    let setup = Setup::start(&[
        "--domain",
        "tunnel.test",
        "--own-host",
        "a.test,entry.tunnel.test",
    ])
    .await;
    let (code, error) = setup.refused("k-ben", &["--name", "entry"]).await;
    assert_eq!(code, Some(4));
    assert!(error.contains("reserved"), "{error}");
    let (_client, _) = setup.client("k-ben", &["--name", "entry2"]).await;
}

#[tokio::test]
async fn a_client_ends_when_its_token_is_revoked() {
    let setup = Setup::start(&[]).await;
    let (mut ana, _) = setup.client("k-ana", &["--name", "blog"]).await;
    let (_ben, _) = setup.client("k-ben", &["--name", "blog"]).await;
    let tokens = fs::read_to_string(setup.tokens()).unwrap();
    let (_, bens) = tokens.split_at(tokens.rfind("[[token]]").unwrap());
    fs::write(setup.tokens(), bens).unwrap();
    assert_eq!(ana.ended().await.code(), Some(4));
    let answer = eventually("her token is refused", async || {
        let answer = setup.api("k-ana", "/mirrors").await;
        (answer.status() == 401).then_some(answer)
    });
    assert_eq!(answer.await.error(), Some("wrong-token"));
    assert_eq!(setup.api("k-ben", "/mirrors/blog/").await.text(), "the app");
}

#[tokio::test]
async fn the_operator_sees_all_hosts_and_closes_one_that_does_harm() {
    let mut setup = Setup::start(&["--domain", "tunnel.test", "--token", "k-operator"]).await;
    let (mut anas, _) = setup.client("k-ana", &["--host", "bank.ana.test"]).await;
    let (bens, _) = setup.client("k-ben", &["--name", "blog"]).await;
    let host = |host: &str, owner: &str| (host.to_owned(), owner.to_owned());
    let (bank, blog) = (
        host("bank.ana.test", "ana"),
        host("blog.tunnel.test", "ben"),
    );
    assert_eq!(
        setup.hosts("k-operator").await,
        [bank.clone(), blog.clone()]
    );
    assert_eq!(setup.hosts("k-ana").await, [bank]);
    assert_eq!(setup.release("k-ben", "bank.ana.test").await, 404);
    assert_eq!(setup.release("k-operator", "none.ana.test").await, 404);

    assert_eq!(setup.release("k-operator", "bank.ana.test").await, 204);
    let visitor = setup.visit("Host: bank.ana.test", "/").await;
    assert_eq!(visitor.error(), Some("unknown-host"));
    assert_eq!(anas.ended().await.code(), Some(6));
    let line = setup.relay.program.line_with("given free").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    for (member, expected) in [
        ("host", "bank.ana.test"),
        ("owner", "ana"),
        ("by", "default"),
    ] {
        assert_eq!(line[member], expected);
    }
    let visitor = setup.visit("Host: blog.tunnel.test", "/").await;
    assert_eq!(visitor.text(), "the app");

    drop(bens);
    eventually("its client is away", async || {
        let visitor = setup.visit("Host: blog.tunnel.test", "/").await;
        (visitor.error() == Some("offline")).then_some(())
    })
    .await;
    assert_eq!(setup.hosts("k-operator").await, [blog]);
    assert_eq!(setup.release("k-operator", "blog.tunnel.test").await, 204);
    assert_eq!(setup.hosts("k-operator").await, []);
}

/// A relay program that knows Ana and Ben, and a local server.
struct Setup {
    relay: RelayProgram,
    origin: Origin,
    folder: TempDir,
}

impl Setup {
    async fn start(args: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("tokens.toml");
        fs::write(&file, TOKENS).unwrap();
        let relay = RelayProgram::start(|command| {
            command.arg("--tokens-file").arg(&file).args(args);
        })
        .await;
        let origin = Origin::start(|_: &Seen| {
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nthe app".to_vec()
        })
        .await;
        Self {
            relay,
            origin,
            folder,
        }
    }

    fn tokens(&self) -> std::path::PathBuf {
        self.folder.path().join("tokens.toml")
    }

    fn command(&self, token: &str, args: &[&str]) -> Command {
        let mut command = Program::command("ggrok-client");
        command
            .args(["--json", "--server", &self.relay.address.to_string()])
            .args(["--local", &self.origin.address.to_string()])
            .args(args)
            .env("GGROK_TOKEN", token);
        command
    }

    /// A client that was let in, and the address that it tells.
    async fn client(&self, token: &str, args: &[&str]) -> (Program, String) {
        let mut client = Program::start(&mut self.command(token, args));
        let ready = client.line_with("ready").await;
        let ready: Value = serde_json::from_str(&ready).unwrap();
        (client, ready["url"].as_str().unwrap().to_owned())
    }

    /// How a client ends that is not let in.
    async fn refused(&self, token: &str, args: &[&str]) -> (Option<i32>, String) {
        let (code, _, error) = output(&mut self.command(token, args)).await;
        (code, error)
    }

    async fn visit(&self, host: &str, target: &str) -> Answer {
        let request = format!("GET {target} HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n");
        raw(self.relay.address, request).await
    }

    async fn api(&self, token: &str, path: &str) -> Answer {
        ask(self.relay.address, &format!("GET /_ggrok{path}"), token).await
    }

    /// Who has which host, as the relay lists it to whoever has a token.
    async fn hosts(&self, token: &str) -> Vec<(String, String)> {
        let answer = self.api(token, "/hosts").await;
        let hosts: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        let text = |host: &Value, member| host[member].as_str().unwrap().to_owned();
        let hosts = hosts.iter();
        hosts
            .map(|host| (text(host, "host"), text(host, "owner")))
            .collect()
    }

    async fn release(&self, token: &str, host: &str) -> u16 {
        let line = format!("DELETE /_ggrok/hosts/{host}");
        ask(self.relay.address, &line, token).await.status()
    }
}

/// The tokens `k-ana`, `k-ben` and `k-cleo`.
const TOKENS: &str = r#"
[[token]]
owner = "cleo"
sha256 = "0946d4db39a58eabe422e1db276d6bd40b65cb34fd9e21450cf2679d9621592e"
names = ["mail"]
hosts = ["mail.tunnel.test", "shop.ana.test", "x.blog.ana.test"]

[[token]]
owner = "ana"
sha256 = "49edee696342ee7862c987b7bdce7919ad5d7b9db8e61d53b514755d0c2da000"
names = ["*"]
hosts = ["*.ana.test", "blog.ana.test"]

[[token]]
owner = "ben"
sha256 = "84d0f0b0294023f97c56254e4fb4c590506881af6bfb0b7c31ffcf95167d9c31"
names = ["*"]
"#;
