//! What stands before a relay in life: a router that ends TLS, and speaks in the clear with the relay.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Listens, says so on standard output, and passes on; with TLS where it has a file to write its
/// certificate into.
pub async fn play(
    listen: SocketAddr,
    to: SocketAddr,
    certificate: Option<&Path>,
) -> anyhow::Result<()> {
    let tls = certificate.map(acceptor).transpose()?;
    let listener = crate::part::listener(listen)?;
    println!("listening on {listen}");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept")?;
                connections.spawn(forward(stream, to, tls.clone()));
            }
        }
    }
}

async fn forward(near: TcpStream, to: SocketAddr, tls: Option<TlsAcceptor>) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    let far = TcpStream::connect(to).await?;
    far.set_nodelay(true)?;
    match tls {
        Some(tls) => pass(tls.accept(near).await?, far).await,
        None => pass(near, far).await,
    }
}

async fn pass(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: TcpStream,
) -> std::io::Result<()> {
    copy_bidirectional_with_sizes(&mut near, &mut far, PIECE, PIECE).await?;
    Ok(())
}

/// TLS with a certificate that is made for it.
fn acceptor(file: &Path) -> anyhow::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    std::fs::write(file, made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der());
    let key = key.map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What is read at once.
const PIECE: usize = 64 << 10;
