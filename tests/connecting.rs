//! The client's way to its relay: TLS, proxies, and what is no relay.

use std::net::SocketAddr;
use std::sync::Arc;

use ggrok_client::{Config, ConnectError, Event, RunError};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::{Client, Origin, Program, Relay, Seen, Wire, exchange, get, output};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

/// Speaks TLS as `localhost`, with a certificate of its own.
fn acceptor() -> (TlsAcceptor, CertificateDer<'static>, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = cert.pem();
    let certificate = cert.der().clone();
    let key = signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate, pem)
}

/// What a platform's router does: TLS from outside, HTTP in the clear to the relay.
async fn tls_front(relay: SocketAddr) -> (SocketAddr, CertificateDer<'static>, String) {
    let (acceptor, certificate, pem) = acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut inner = TcpStream::connect(relay).await.unwrap();
                copy_bidirectional(&mut stream, &mut inner).await.ok();
            });
        }
    });
    (address, certificate, pem)
}

fn settings(relay: &str, origin: &Origin) -> Config {
    let local = origin.address.to_string();
    Config::new(relay.parse().unwrap(), local.parse().unwrap())
}

#[tokio::test]
async fn trusts_an_authority_that_it_is_given_and_no_other() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let (front, certificate, _) = tls_front(relay.address).await;
    let address = format!("wss://localhost:{}", front.port());

    let stranger = Client::launch(settings(&address, &origin)).ended().await;
    let Err(RunError::Connect(error @ ConnectError::Certificate(_))) = stranger else {
        panic!("{stranger:?}");
    };
    assert!(error.to_string().contains("--ca-cert"));

    let mut trusting = settings(&address, &origin);
    trusting.authorities = vec![certificate];
    let mut client = Client::launch(trusting);
    assert_eq!(client.await_ready().await, address.replace("wss", "https"));
    let port = front.port();
    let request = format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(
        crate::support::raw(relay.address, request).await.status(),
        200
    );
}

#[tokio::test]
async fn says_that_a_relay_speaks_no_tls() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let address = format!("wss://{}", relay.address);
    let ended = Client::launch(settings(&address, &origin)).ended().await;
    let Err(RunError::Connect(error @ ConnectError::NotTls(_))) = ended else {
        panic!("{ended:?}");
    };
    assert!(error.to_string().contains("ws://"));
}

/// A proxy that passes a request on without its Upgrade and Connection fields, as many do.
async fn without_upgrades(relay: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (visitor, _) = listener.accept().await.unwrap();
        let mut visitor = Wire::new(visitor);
        let head = visitor.head().await;
        let kept = head.lines().filter(|line| {
            let name = line.split(':').next().unwrap();
            !["upgrade", "connection"].contains(&name.to_ascii_lowercase().as_str())
        });
        let lines: Vec<_> = kept.collect();
        let request = lines
            .join("\r\n")
            .replacen("\r\n", "\r\nConnection: close\r\n", 1);
        let answer = exchange(relay, format!("{request}\r\n").as_bytes()).await;
        visitor.send(answer).await;
    });
    address
}

#[tokio::test]
async fn tells_a_relay_that_does_not_register_from_none() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let server = without_upgrades(relay.address).await.to_string();
    let ended = Client::launch(settings(&server, &origin)).ended().await;
    let Err(RunError::Connect(error @ ConnectError::NotRegistered(_))) = ended else {
        panic!("{ended:?}");
    };
    assert!(error.to_string().contains("Upgrade and Connection"));

    let remote = format!("ws://{}/mirror", relay.address);
    let (port, args) = (origin.address.port().to_string(), ["--name", "blog"]);
    let mut command = Program::command("ggrok-client");
    command.args(args).args(["--remote", &remote, &port]);
    let (code, _, error) = output(&mut command).await;
    assert_eq!(code, Some(4));
    assert!(error.contains("mirrors at /_ggrok/mirror"), "{error}");
}

#[tokio::test]
async fn leaves_what_is_no_relay() {
    let not_found = |_: &Seen| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    let page = |_: &Seen| b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage".to_vec();
    let shell = |_: &Seen| b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec();
    for other in [
        Origin::start(not_found).await,
        Origin::start(page).await,
        Origin::start(shell).await,
    ] {
        let origin = Origin::start(ok).await;
        let ended = Client::launch(settings(&other.address.to_string(), &origin))
            .ended()
            .await;
        let is_no_relay = matches!(ended, Err(RunError::Connect(ConnectError::NoRelay(_))));
        assert!(is_no_relay, "{ended:?}");
        assert!(other.seen()[0].line().starts_with("GET /$$ggrok HTTP/1.1"));
    }
}

/// Takes the next connection of a client, and its handshake.
async fn handshake(listener: &TcpListener, acceptor: &TlsAcceptor) -> TlsStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = acceptor.accept(stream).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream
}

async fn why_it_waits(client: &mut Client) -> String {
    match client.event().await {
        Event::Waiting { reason, .. } => reason,
        other => panic!("it does not wait: {other:?}"),
    }
}

#[tokio::test]
async fn outlasts_what_stands_in_the_place_of_a_relay_that_it_has_met() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let (ours, certificate, _) = acceptor();
    let (theirs, _, _) = acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = settings(&format!("wss://localhost:{port}"), &origin);
    settings.authorities = vec![certificate];
    let mut client = Client::launch(settings);

    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = ours.accept(stream).await.unwrap();
    let mut inner = TcpStream::connect(relay.address).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut inner) => panic!("it left"),
        _ = client.await_ready() => {}
    }
    drop(stream);
    why_it_waits(&mut client).await;

    let (stream, _) = listener.accept().await.unwrap();
    theirs.accept(stream).await.unwrap_err();
    let reason = why_it_waits(&mut client).await;
    assert!(reason.contains("certificate is refused"), "{reason}");

    for status in ["403 Forbidden", "401 Unauthorized"] {
        let mut stream = handshake(&listener, &ours).await;
        let page = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(page.as_bytes()).await.unwrap();
        let reason = why_it_waits(&mut client).await;
        assert!(reason.contains(status), "{reason}");
    }

    let mut stream = handshake(&listener, &ours).await;
    let refusal =
        b"HTTP/1.1 401 Unauthorized\r\nx-ggrok-error: wrong-token\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(refusal).await.unwrap();
    let ended = client.ended().await;
    let is_refused = matches!(ended, Err(RunError::Connect(ConnectError::Refused(_))));
    assert!(is_refused, "{ended:?}");
}

#[tokio::test]
async fn leaves_what_refuses_it_from_the_start() {
    for status in ["403 Forbidden", "401 Unauthorized"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let other = Origin::start(move |_| answer.clone().into_bytes()).await;
        let origin = Origin::start(ok).await;
        let address = other.address.to_string();
        let ended = Client::launch(settings(&address, &origin)).ended().await;
        let Err(RunError::Connect(error)) = ended else {
            panic!("{ended:?}");
        };
        assert!(error.to_string().contains(status), "{error}");
    }
}

#[tokio::test]
async fn waits_for_a_relay_that_is_not_there_yet() {
    let unavailable = |_: &Seen| {
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .to_vec()
    };
    let starting = Origin::start(unavailable).await;
    let address = starting.address;
    let origin = Origin::start(ok).await;
    let mut client = Client::launch(settings(&address.to_string(), &origin));
    let Event::Waiting { reason, .. } = client.event().await else {
        panic!("it did not wait");
    };
    assert!(reason.contains("503"), "{reason}");
    drop(starting);
    let _relay = crate::support::eventually("the port is free", async || {
        let free = TcpListener::bind(address).await.is_ok();
        if free {
            Some(Relay::at(address, |_| {}).await)
        } else {
            None
        }
    })
    .await;
    client.await_ready().await;
    assert_eq!(get(address, "/").await.status(), 200);
}

/// A proxy that serves CONNECT, keeps what it was asked for, and goes to one place whatever that is.
async fn proxy(to: SocketAddr) -> (SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                sender.send(String::from_utf8(head).unwrap()).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut inner = TcpStream::connect(to).await.unwrap();
                copy_bidirectional(&mut stream, &mut inner).await.ok();
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn goes_through_the_proxy_of_the_environment_to_the_relay_alone() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let (front, _, pem) = tls_front(relay.address).await;
    let (proxy, mut asked) = proxy(front).await;
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.pem");
    // The certificate is for localhost, but the relay's name only the proxy can resolve: trusting
    // it shows which name the client checks.
    let CertifiedKey { cert, .. } = generate_simple_self_signed(["x".to_owned()]).unwrap();
    std::fs::write(&authority, format!("{pem}{}", cert.pem())).unwrap();

    let mut command = Program::command("ggrok-client");
    command
        .args(["--server", "relay.invalid", "--json", "--local"])
        .arg(origin.address.to_string())
        .arg("--ca-cert")
        .arg(&authority)
        .env("HTTPS_PROXY", format!("http://user:pass%40@{proxy}"))
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .stderr(std::process::Stdio::piped());
    let mut client = Program::start(&mut command);
    let request = asked.recv().await.unwrap();
    assert!(
        request.starts_with("CONNECT relay.invalid:443 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request
            .to_ascii_lowercase()
            .contains("proxy-authorization: basic dxnlcjpwyxnzqa=="),
        "{request}"
    );
    // The relay's certificate is for another name, and that is final.
    assert_eq!(client.ended().await.code(), Some(5));

    let (proxy, _asked) = self::proxy(relay.address).await;
    let mut command = Program::command("ggrok-client");
    command
        .args([
            "--server",
            &format!("ws://relay.invalid:{}", relay.address.port()),
            "--json",
            "--local",
        ])
        .arg(origin.address.to_string())
        .env("HTTP_PROXY", format!("http://{proxy}"));
    let mut client = Program::start(&mut command);
    client.line_with("ready").await;
    let port = relay.address.port();
    let request =
        format!("GET / HTTP/1.1\r\nHost: relay.invalid:{port}\r\nConnection: close\r\n\r\n");
    // The local server is reached directly, whatever HTTP_PROXY says.
    assert_eq!(
        crate::support::raw(relay.address, request).await.text(),
        "hi"
    );
}

/// What a program says of a relay with this address, with these variables, until it has failed once.
async fn first_failure(server: &str, variables: &[(&str, String)]) -> String {
    let mut command = Program::command("ggrok-client");
    command.args(["--server", server, "3000", "--json"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut client = Program::start(&mut command);
    client.line_with("waiting").await
}

/// How a program ends that finds this at the address of its relay.
async fn final_failure(server: &str, variables: &[(&str, String)]) -> (Option<i32>, String) {
    let mut command = Program::command("ggrok-client");
    command.args(["--server", server, "3000"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let (code, _, error) = output(&mut command).await;
    (code, error)
}

#[tokio::test]
async fn a_failed_attempt_names_what_was_dialled_and_what_to_do() {
    let line = first_failure("ws://127.0.0.1:9", &[]).await;
    assert!(line.contains("127.0.0.1:9: "), "{line}");
    assert!(line.contains("is this its port?"), "{line}");
    assert!(line.contains(r#""attempts":1"#), "{line}");
    let line = first_failure("relay.invalid", &[]).await;
    assert!(line.contains("relay.invalid:443"), "{line}");
    assert!(
        line.contains("cannot be resolved") && line.contains("check its spelling"),
        "{line}"
    );
}

/// A server that answers each connection with this.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut stream = Wire::new(stream);
                if answer.starts_with(b"HTTP") {
                    stream.head().await;
                }
                stream.try_send(answer).await.ok();
                stream.rest().await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_proxys_refusal_says_what_it_wants() {
    let login =
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n";
    let windows =
        b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n";
    for (answer, user, says) in [
        (&login[..], "", "put user:password into HTTPS_PROXY"),
        (
            login,
            "ana:s3cret@",
            "refuses the user or the password in HTTPS_PROXY",
        ),
        (
            windows,
            "ana:s3cret@",
            "NTLM or Negotiate, which is not supported",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "", "403 Forbidden"),
    ] {
        let proxy = answering(answer).await;
        let variables = [("HTTPS_PROXY", format!("http://{user}{proxy}"))];
        let (code, error) = final_failure("relay.invalid", &variables).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(
            error.contains(&format!("the proxy http://{proxy}")),
            "{error}"
        );
        assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_fails_is_named_with_the_reason() {
    for (scheme, answer, says) in [
        (
            "http",
            &b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..],
            "502 Bad Gateway",
        ),
        ("http", b"SSH-2.0-x\r\n\r\n", "is not an HTTP proxy"),
        ("socks5h", b"HTTP/1.1 400 Bad\r\n\r\n", "not SOCKS 5"),
        (
            "socks5h",
            b"\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00",
            "refused",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_u8().await.ok();
                stream.write_all(answer).await.ok();
                tokio::spawn(async move { Wire::new(stream).rest().await });
            }
        });
        let variables = [("HTTPS_PROXY", format!("{scheme}://{proxy}"))];
        let line = first_failure("relay.invalid", &variables).await;
        let through = format!("relay.invalid:443 through the proxy {scheme}://{proxy}");
        assert!(line.contains(&through), "{line}");
        assert!(line.contains(says), "{line}");
    }
    let variables = [("HTTPS_PROXY", "http://127.0.0.1:9".to_owned())];
    let line = first_failure("relay.invalid", &variables).await;
    assert!(
        line.contains("the proxy http://127.0.0.1:9") && line.contains("HTTPS_PROXY"),
        "{line}"
    );
}

#[tokio::test]
async fn another_server_at_the_relays_address_is_named_in_plain_words() {
    let (tls, _, _) = tls_front("127.0.0.1:9".parse().unwrap()).await;
    let tls = tls.to_string();
    let tls_says = format!("wss://{tls}");
    for (server, says) in [
        (
            answering(b"SSH-2.0-OpenSSH_9.2\x1b[31m\r\n").await.to_string(),
            "(it answered \"SSH-2.0-OpenSSH_9.2\u{fffd}[31m\")",
        ),
        (
            answering(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\nContent-Length: 0\r\n\r\n")
                .await
                .to_string(),
            "to http://portal.example/login (is that a login page",
        ),
        (tls, &tls_says),
    ] {
        let (code, error) = final_failure(&server, &[]).await;
        assert_eq!(code, Some(3), "{error}");
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("httparse"), "{error}");
    }
}

#[tokio::test]
async fn tells_what_it_connects_to_where_nothing_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let origin = Origin::start(ok).await;
    let mut client = Client::launch(settings(&address, &origin));
    match client.any_event().await {
        Event::Connecting { to } => assert_eq!(to, address),
        other => panic!("it does not tell: {other:?}"),
    }
}
