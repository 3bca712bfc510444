//! A connection to the relay that is lost unseen: nothing comes back, and nobody says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ggrok_client::Event;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::support::{Client, Origin, Program, Relay, Seen, config, get};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

/// A router that can forget the connections that it has: what comes on them is dropped, and they stay open.
/// New ones it takes as before.
struct Router {
    address: SocketAddr,
    forgotten: watch::Sender<usize>,
    connections: Arc<AtomicUsize>,
}

impl Router {
    async fn start(relay: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let forgotten = watch::Sender::new(0);
        let connections = Arc::new(AtomicUsize::new(0));
        let (known, counted) = (forgotten.clone(), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let far = TcpStream::connect(relay).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, number, known.subscribe()));
                tokio::spawn(pass(far_in, near_out, number, known.subscribe()));
            }
        });
        Self {
            address,
            forgotten,
            connections,
        }
    }

    /// Forgets the connections that it has.
    fn forget(&self) {
        let number = self.connections.load(Ordering::SeqCst);
        self.forgotten.send_replace(number);
    }
}

/// Passes bytes on while the connection is not forgotten, and then drops them.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: usize,
    forgotten: watch::Receiver<usize>,
) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        match from.read(&mut bytes).await {
            Ok(length) if length > 0 => {
                if *forgotten.borrow() < number && to.write_all(&bytes[..length]).await.is_err() {
                    return;
                }
            }
            // A forgotten connection stays open.
            _ if *forgotten.borrow() >= number => std::future::pending().await,
            _ => return,
        }
    }
}

#[tokio::test]
async fn a_client_comes_back_where_its_pings_are_not_answered() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let router = Router::start(relay.address).await;
    let mut settings = config(&relay, &origin);
    settings.relay = router.address.to_string().parse().unwrap();
    settings.limits.client_ping_every = Duration::from_millis(100);
    settings.limits.client_pong_timeout = Duration::from_millis(500);
    let mut client = Client::ready(settings).await;
    assert_eq!(get(router.address, "/").await.text(), "hi");
    for _ in 0..2 {
        router.forget();
        let retry_in = loop {
            if let Event::Waiting { retry_in, .. } = client.event().await {
                break retry_in;
            }
        };
        assert_eq!(retry_in, Duration::ZERO, "it waits before it dials again");
        client.await_ready().await;
        assert_eq!(get(router.address, "/").await.text(), "hi");
    }
}

#[tokio::test]
async fn a_client_keeps_a_connection_whose_pings_are_answered() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let mut settings = config(&relay, &origin);
    settings.limits.client_ping_every = Duration::from_millis(20);
    let mut client = Client::ready(settings).await;
    let event = timeout(Duration::from_secs(1), client.event()).await;
    assert!(event.is_err(), "{event:?}");
}

/// A laptop whose lid was closed, as far as a test can play it: the process stands still, and meanwhile
/// the network forgets its connection.
#[cfg(unix)]
#[tokio::test]
async fn a_client_that_was_stopped_is_back_soon_after_it_goes_on() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let router = Router::start(relay.address).await;
    let mut client = Program::start(Program::command("ggrok-client").args([
        "--server",
        &router.address.to_string(),
        "--json",
        &origin.address.port().to_string(),
    ]));
    client.line_with("ready").await;
    client.signal("STOP").await;
    router.forget();
    // Longer than what the client takes for a busy machine, and far less than what it waits for a pong.
    sleep(Duration::from_millis(4500)).await;
    client.signal("CONT").await;
    let back = async {
        client.line_with("waiting").await;
        client.line_with("ready").await;
    };
    // 2.5 s and a busy machine; the pings by themselves would take 5 s and more.
    timeout(Duration::from_secs(6), back)
        .await
        .expect("it takes too long");
    assert_eq!(get(router.address, "/").await.text(), "hi");
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_that_was_stopped_keeps_a_connection_that_still_works() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let router = Router::start(relay.address).await;
    let mut client = Program::start(Program::command("ggrok-client").args([
        "--server",
        &router.address.to_string(),
        "--json",
        &origin.address.port().to_string(),
    ]));
    client.line_with("ready").await;
    client.signal("STOP").await;
    sleep(Duration::from_millis(4500)).await;
    client.signal("CONT").await;
    // Over the time that a probe has.
    let left = timeout(Duration::from_secs(4), client.line_with("waiting")).await;
    assert!(left.is_err(), "it left: {left:?}");
    assert_eq!(get(router.address, "/").await.text(), "hi");
}
