//! ggrok's main job on one machine: a relay, a client, and a page on a local server behind it.

use std::net::Ipv4Addr;

use anyhow::Context;
use axum::Router;
use axum::http::HeaderMap;
use axum::response::Html;
use axum::routing::get;
use ggrok_client::{Event, LocalAddress, RelayAddress};
use ggrok_server::Access;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let app = free_port().await?;
    let relay = free_port().await?;
    let address: RelayAddress = relay.local_addr()?.to_string().parse()?;
    let local = LocalAddress::port(app.local_addr()?.port());
    println!("local server  {local}  (what would be your app)");
    println!(
        "relay         {}  (what would be on your server)",
        address.public_url()
    );

    let relay_config = ggrok_server::Config::new(Access::open(), 0);
    let client_config = ggrok_client::Config::new(address, local);
    tokio::select! {
        served = axum::serve(app, Router::new().fallback(get(page))) => served?,
        () = ggrok_server::serve(relay, relay_config, std::future::pending()) => {}
        ended = ggrok_client::run(client_config, show, std::future::pending()) => ended?,
        interrupted = ctrl_c() => interrupted?,
    }
    Ok(())
}

async fn free_port() -> anyhow::Result<TcpListener> {
    let address = (Ipv4Addr::LOCALHOST, 0);
    TcpListener::bind(address)
        .await
        .context("cannot listen on loopback")
}

fn show(event: Event) {
    match event {
        Event::Ready { url } => println!("\nOpen {url} in a browser; Ctrl-C ends.\n"),
        Event::NotPublic { .. } => {
            println!("visitors cannot open it: the relay gives names no hosts")
        }
        Event::Answered {
            method,
            path,
            status,
            elapsed,
            ..
        } => {
            println!("{method} {path} {status} in {} ms", elapsed.as_millis());
        }
        Event::HostRefused { remedy, .. } => println!("the app refuses a visitor: {remedy}"),
        Event::LocalDown { address } => println!("nothing answers at {address}"),
        Event::Connecting { to } => println!("connecting to {to} ..."),
        Event::Waiting { reason, .. } => println!("no tunnel: {reason}"),
        Event::Finishing { .. } => println!("visitors get their last answers"),
    }
}

async fn page(headers: HeaderMap) -> Html<String> {
    let told = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        // A visitor's words, in a page.
        value.unwrap_or("nothing").replace(['<', '>', '&'], "?")
    };
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>ggrok</title>\
         <style>body{{font:1.1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:15vh auto}}\
         </style><h1>It works</h1><p>This page comes from a local server. Your request went to \
         the relay, through one WebSocket to the client, and from there to the page.</p>\
         <p>Host: {}<br>X-Forwarded-For: {}</p></html>\n",
        told("host"),
        told("x-forwarded-for"),
    ))
}
